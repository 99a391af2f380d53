import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { MAX_ACTIVATION_LIMIT } from '../domain/model.ts';
import { EVERY_MODEL, type Permission, type Reach, reachShape } from '../domain/permissions.ts';

/** Who calls, as a verified credential says. */
export interface Identity {
  /** Who acts, in every event. */
  actor: string;
  role: string | null;
  groups: readonly string[];
  /** What the credential allows by itself, beside the table. */
  reaches?: readonly Reach[];
  /** When the token expires that says so. */
  expires_at?: Date;
}

/** What a request wants to do, and to what, as far as it names it. */
export interface Wish {
  permission: Permission;
  model?: string | undefined;
  environment?: string | undefined;
}

const Name = z.string().min(1).max(200);

/** One line of the table: a reach, for whoever has all of what it names. */
const Grant = z
  .strictObject({ ...reachShape, role: Name.optional(), group: Name.optional(), subject: Name.optional() })
  .refine(({ role, group, subject }) => role ?? group ?? subject, 'must name a role, a group or a subject');
type Grant = z.output<typeof Grant>;

/** A single event has up to 512 KiB: a lower limit would refuse some for ever. */
const MIN_BYTES_PER_MINUTE = 1024 * 1024;

/** How often an environment may be moved, and how much may be written for a model: the first line that fits and says so holds. */
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
    'limits commands or bytes of a whole model: leave environments out',
  );

const Table = z.strictObject({
  grants: z.array(Grant).max(1000),
  limits: z.array(Limit).max(1000).default([]),
});

export type Policy = z.output<typeof Table>;

/** What holds where nothing else is configured. */
export const DEFAULT_POLICY: Policy = Table.parse({
  grants: [
    { allow: 'all', role: 'admin' },
    { allow: ['read'], role: 'user' },
  ],
});

/**
 * The table in a YAML or JSON file (docs/security.md). It stands in place of the default one, not beside it.
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

/** Whether the credential itself or any line allows it. What a wish does not name, no line limits. */
export function allows(policy: Policy, identity: Identity, wish: Wish): boolean {
  if (identity.reaches?.some((reach) => covers(reach, wish))) return true;
  return policy.grants.some((grant) => concerns(grant, identity) && covers(grant, wish));
}

function concerns({ role, group, subject }: Grant, identity: Identity): boolean {
  return (
    (role === undefined || role === identity.role) &&
    (group === undefined || identity.groups.includes(group)) &&
    (subject === undefined || subject === identity.actor)
  );
}

/** Accepted activations a minute for a model and environment, where the table says so. */
export function activationLimitOf({ limits }: Policy, model: string, environment: string): number | null {
  return limitOf(limits, 'activations_per_minute', { model, environment });
}

/** Stored commands, and bytes of them, a minute for a model, where the table says so. */
export function writeLimitOf({ limits }: Policy, model: string): { commands: number | null; bytes: number | null } {
  const of = (name: LimitName) => limitOf(limits, name, { model });
  return { commands: of('commands_per_minute'), bytes: of('bytes_per_minute') };
}

type LimitName = 'activations_per_minute' | 'commands_per_minute' | 'bytes_per_minute';

function limitOf(limits: Policy['limits'], name: LimitName, where: Where): number | null {
  return limits.find((limit) => limit[name] !== undefined && fits(limit, where))?.[name] ?? null;
}

function covers(reach: Reach, wish: Wish): boolean {
  return reach.allow.includes(wish.permission) && fits(reach, wish);
}

type Where = Pick<Wish, 'model' | 'environment'>;

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
 * `fraud-*` and the like, as a shell has it. Each part between stars is taken where it is found first, so there is no
 * backtracking: a regular expression with many stars needs exponential time.
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
