import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { MAX_ACTIVATION_LIMIT } from '../domain/model.ts';
import { EVERY_MODEL, type Permission, type Reach, reachShape } from '../domain/permissions.ts';

/** The caller of a verified credential. */
export interface Identity {
  /** The name that events record. */
  actor: string;
  role: string | null;
  groups: readonly string[];
  /** What the credential allows in addition to the policy. */
  reaches?: readonly Reach[];
  /** When the token expires. */
  expires_at?: Date;
}

/** The permission that a request needs, with the model and environment that it names. */
export interface AccessRequest {
  permission: Permission;
  model?: string | undefined;
  environment?: string | undefined;
}

const Name = z.string().min(1).max(200);

/** A grant of the policy: a reach for callers that match all of its role, group and subject. */
const Grant = z
  .strictObject({ ...reachShape, role: Name.optional(), group: Name.optional(), subject: Name.optional() })
  .refine(({ role, group, subject }) => role ?? group ?? subject, 'must name a role, a group or a subject');
type Grant = z.output<typeof Grant>;

/** A single event has up to 512 KiB. A limit below that would refuse some events forever. */
const MIN_BYTES_PER_MINUTE = 1024 * 1024;

/** Limits of the moves of an environment and the writes for a model. The first entry that matches and sets a limit applies. */
const Limit = z
  .strictObject({
    models: reachShape.models,
    environments: reachShape.environments,
    activations_per_minute: z.int().min(0).max(MAX_ACTIVATION_LIMIT).optional(),
    commands_per_minute: z.int().min(0).optional(),
    bytes_per_minute: z.union([z.literal(0), z.int().min(MIN_BYTES_PER_MINUTE)]).optional(),
  })
  .refine(({ models: _, environments: __, ...limits }) => Object.keys(limits).length > 0, 'must set a limit')
  .refine(
    ({ environments, commands_per_minute, bytes_per_minute }) =>
      environments === undefined || (commands_per_minute ?? bytes_per_minute) === undefined,
    'commands and bytes are limited per model: leave environments out',
  );

const Table = z.strictObject({
  grants: z.array(Grant).max(1000),
  limits: z.array(Limit).max(1000).default([]),
});

export type Policy = z.output<typeof Table>;

/** The policy if no file is configured. */
export const DEFAULT_POLICY: Policy = Table.parse({
  grants: [
    { allow: 'all', role: 'admin' },
    { allow: ['read'], role: 'user' },
  ],
});

/**
 * Reads a policy from a YAML or JSON file (docs/security.md). It replaces the default policy.
 *
 * @throws {Error} naming the file and what is wrong in it
 */
export async function readPolicy(path: string): Promise<Policy> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new Error(`The policy ${path} cannot be read.`, { cause });
  });
  const result = Table.safeParse(parse(text));
  if (result.success) return result.data;
  throw new Error(`The policy ${path} is not valid: ${z.prettifyError(result.error)}`, { cause: result.error });
}

/** Whether the credential or any grant allows it. A model or environment that the request does not name is not checked. */
export function allows(policy: Policy, identity: Identity, wanted: AccessRequest): boolean {
  if (identity.reaches?.some((reach) => covers(reach, wanted))) return true;
  return policy.grants.some((grant) => appliesTo(grant, identity) && covers(grant, wanted));
}

function appliesTo({ role, group, subject }: Grant, identity: Identity): boolean {
  return (
    (role === undefined || role === identity.role) &&
    (group === undefined || identity.groups.includes(group)) &&
    (subject === undefined || subject === identity.actor)
  );
}

/** Returns the limit of activations per minute for a model and environment; null if the policy sets none. */
export function activationLimitOf({ limits }: Policy, model: string, environment: string): number | null {
  return limitOf(limits, 'activations_per_minute', { model, environment });
}

/** Returns the limits of stored commands and bytes per minute for a model; null if the policy sets none. */
export function writeLimitOf({ limits }: Policy, model: string): { commands: number | null; bytes: number | null } {
  const of = (name: LimitName) => limitOf(limits, name, { model });
  return { commands: of('commands_per_minute'), bytes: of('bytes_per_minute') };
}

type LimitName = 'activations_per_minute' | 'commands_per_minute' | 'bytes_per_minute';

function limitOf(limits: Policy['limits'], name: LimitName, where: Where): number | null {
  return limits.find((limit) => limit[name] !== undefined && fits(limit, where))?.[name] ?? null;
}

function covers(reach: Reach, wanted: AccessRequest): boolean {
  return reach.allow.includes(wanted.permission) && fits(reach, wanted);
}

type Where = Pick<AccessRequest, 'model' | 'environment'>;

function fits(
  { models, environments }: Pick<Reach, 'models' | 'environments'>,
  { model, environment }: Where,
): boolean {
  return (
    (model === undefined || models.some((pattern) => matches(pattern, model))) &&
    (environment === undefined || environments === undefined || environments.includes(environment))
  );
}

/**
 * Matches a glob such as `fraud-*`. Takes the first occurrence of each part between stars, without backtracking: a regular
 * expression with many stars needs exponential time.
 */
function matches(pattern: string, model: string): boolean {
  if (pattern === EVERY_MODEL || pattern === model) return true;
  const [first, ...parts] = pattern.split('*') as [string, ...string[]];
  const last = parts.pop();
  if (last === undefined || !model.startsWith(first) || !model.endsWith(last)) return false;
  let reached = first.length;
  for (const part of parts) {
    const found = model.indexOf(part, reached);
    if (found === -1) return false;
    reached = found + part.length;
  }
  return reached + last.length <= model.length;
}
