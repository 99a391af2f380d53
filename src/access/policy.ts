import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { EnvironmentName } from '../domain/names.ts';
import { PERMISSIONS, type Permission } from './permissions.ts';

/** Who calls, as a verified credential says. */
export interface Identity {
  /** Who acts, in every event. */
  actor: string;
  role: string | null;
  groups: readonly string[];
}

/** What a request wants to do, and to what, as far as it names it. */
export interface Wish {
  permission: Permission;
  model?: string | undefined;
  environment?: string | undefined;
}

/** In a wish: all models there are and will be. No model is called so. */
export const EVERY_MODEL = '*';

const Name = z.string().min(1).max(200);
const Pattern = z.string().regex(/^[a-z0-9_*-]{1,64}$/, 'must be a model’s name, in which * stands for anything');

/** One line of the table: these permissions, to whoever has all of what it names, for these models and environments. */
const Grant = z
  .strictObject({
    allow: z.union([z.literal('all').transform(() => [...PERMISSIONS]), z.array(z.enum(PERMISSIONS)).min(1)]),
    role: Name.optional(),
    group: Name.optional(),
    subject: Name.optional(),
    models: z
      .union([Pattern, z.array(Pattern).min(1)])
      .default(EVERY_MODEL)
      .transform(matcher),
    environments: z.array(EnvironmentName).min(1).optional(),
  })
  .refine(({ role, group, subject }) => role ?? group ?? subject, 'must name a role, a group or a subject');
type Grant = z.output<typeof Grant>;

const Table = z.strictObject({ grants: z.array(Grant).max(1000) });

export type Policy = readonly Grant[];

/** What holds where nothing else is configured. */
export const DEFAULT_POLICY: Policy = z.array(Grant).parse([
  { allow: 'all', role: 'admin' },
  { allow: ['read'], role: 'user' },
]);

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
  if (result.success) return result.data.grants;
  throw new Error(`The policy ${path} is not valid: ${z.prettifyError(result.error)}`, { cause: result.error });
}

/** Whether any line allows it. What a request does not name, no line limits. */
export function allows(policy: Policy, identity: Identity, wish: Wish): boolean {
  return policy.some((grant) => concerns(grant, identity) && covers(grant, wish));
}

function concerns({ role, group, subject }: Grant, identity: Identity): boolean {
  return (
    (role === undefined || role === identity.role) &&
    (group === undefined || identity.groups.includes(group)) &&
    (subject === undefined || subject === identity.actor)
  );
}

function covers({ allow, models, environments }: Grant, { permission, model, environment }: Wish): boolean {
  return (
    allow.includes(permission) &&
    (model === undefined || models(model)) &&
    (environment === undefined || environments === undefined || environments.includes(environment))
  );
}

/** `fraud-*` and the like, as one test of a name. */
function matcher(patterns: string | string[]): (model: string) => boolean {
  const all = [patterns].flat();
  if (all.includes(EVERY_MODEL)) return () => true;
  const pattern = new RegExp(`^(?:${all.map((one) => one.replaceAll('*', '.*')).join('|')})$`);
  return (model) => pattern.test(model);
}
