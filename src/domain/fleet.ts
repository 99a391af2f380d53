import { z } from 'zod';
import { Digest } from './digest.ts';
import type { ActiveMap, ActivePointer } from './events.ts';
import { EnvironmentName } from './names.ts';
import { Runtime } from './requires.ts';
import { Version } from './versions.ts';

/** What a loader process is called: one token of a NATS subject and one path segment alike. */
export const InstanceName = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,100}$/, 'must match [A-Za-z0-9_-]{1,100}')
  .meta({ example: 'scorer-3-4711-9f2c' });

export const LOADER_STATES = [
  'starting',
  'fetching',
  'loading',
  'warming-up',
  'ready',
  'failed',
  'no-target',
  'diverged',
  'stopped',
] as const;
export type LoaderState = (typeof LOADER_STATES)[number];

/** What only another move of the environment can mend. */
export const PERMANENT_ERRORS = [
  'digest-mismatch',
  'runtime-mismatch',
  'golden-mismatch',
  'unknown-environment',
] as const;
/** What a loader tries again by itself. */
export const PASSING_ERRORS = ['fetch-failed', 'cache-full', 'hydrate-failed', 'load-timeout'] as const;
export const LOADER_ERRORS = [...PERMANENT_ERRORS, ...PASSING_ERRORS] as const;
export type LoaderErrorCode = (typeof LOADER_ERRORS)[number];

/** A version that an environment was moved to, and the revision that moved it. */
export const Target = z.strictObject({ version: Version, manifest_digest: Digest, revision: z.int().positive() });
export type Target = z.infer<typeof Target>;

/** What is active in an environment; the revision is known wherever an environment is not just being moved. */
export type Active = Pick<ActivePointer, 'version' | 'manifest_digest' | 'revision'>;

const Text = z.string().max(200);
const Millis = z.int().nonnegative().nullable();
const Count = z.int().nonnegative();
const Time = z.iso.datetime();

const report = {
  environment: EnvironmentName,
  host: Text,
  pid: Count,
  client: Text.meta({ example: 'signalbox-node 0.1.0' }),
  state: z.enum(LOADER_STATES),
  since: Time,
  stale: z.boolean(),
  target: Target.nullable(),
  current: Target.nullable(),
  error: z.strictObject({ code: z.enum(LOADER_ERRORS), message: z.string().max(2000), at: Time }).nullable(),
  load_ms: Millis,
  warm_up_ms: Millis,
  runtime: Runtime,
  cache: z.strictObject({ hits: Count, misses: Count }),
};

/** As JSON: each report is a message of NATS. */
export const MAX_REPORT_BYTES = 15 * 1024;

/** What a loader says of itself. */
export const LoaderReport = z
  .strictObject(report)
  .refine(
    (report) => Buffer.byteLength(JSON.stringify(report)) <= MAX_REPORT_BYTES,
    `must not be larger than ${MAX_REPORT_BYTES} bytes`,
  );
export type LoaderReport = z.infer<typeof LoaderReport>;

/** The same where it was let in before: a newer loader may say more. */
export const HeardReport = z.object(report);

/** A report as the API tells it on. */
export const LoaderView = z
  .object({ model: z.string(), instance: z.string(), reported_at: Time, ...report })
  .meta({ id: 'Loader' });
export type LoaderView = z.infer<typeof LoaderView>;

/** How far the loaders of an environment have followed what is active there. */
export const Convergence = z
  .object({
    active: z.string().nullable(),
    manifest_digest: Digest.nullable(),
    revision: z.int().nullable().meta({ description: 'The event that made it active' }),
    total: z.int(),
    converged: z.int(),
    failed: z.int(),
  })
  .meta({ id: 'Convergence' });
export type Convergence = z.infer<typeof Convergence>;

export const FleetView = z
  .object({ loaders: z.array(LoaderView), environments: z.record(z.string(), Convergence) })
  .meta({ id: 'Fleet' });
export type FleetView = z.infer<typeof FleetView>;

/** By environment: those of `active`, and every other that a loader reports. */
export function convergence(active: ActiveMap, loaders: readonly LoaderReport[]): Record<string, Convergence> {
  const reporting = Map.groupBy(loaders, ({ environment }) => environment);
  const names = new Set([...Object.keys(active), ...reporting.keys()]);
  const pointers = new Map(Object.entries(active));
  const entries = [...names].map((name) => {
    return [name, convergenceOn(pointers.get(name) ?? null, reporting.get(name) ?? [])];
  });
  return Object.fromEntries(entries);
}

function convergenceOn(active: Active | null, loaders: LoaderReport[]): Convergence {
  return {
    active: active?.version ?? null,
    manifest_digest: active?.manifest_digest ?? null,
    revision: active?.revision ?? null,
    total: loaders.length,
    converged: loaders.filter((loader) => hasConverged(loader, active)).length,
    failed: loaders.filter(hasFailed).length,
  };
}

/** Whether a loader serves what is active; with nothing active, whether it knows that. */
export function hasConverged({ state, current }: LoaderReport, active: Active | null): boolean {
  if (active === null) return state === 'no-target';
  return state === 'ready' && current !== null && isSame(current, active);
}

export function hasFailed({ state }: LoaderReport): boolean {
  return state === 'failed' || state === 'diverged';
}

/** Whether a loader has given up on what is active, until the environment is moved again. */
export function hasGivenUp({ state, error, target }: LoaderReport, active: Active | null): boolean {
  if (state !== 'failed' || !error || !PERMANENT_ERRORS.some((code) => code === error.code)) return false;
  // A target is known by its revision: the error may be of an earlier one. No target can be of an unknown environment.
  return error.code === 'unknown-environment' || target?.revision === active?.revision;
}

function isSame(one: Active, other: Active): boolean {
  return one.version === other.version && one.manifest_digest === other.manifest_digest;
}

/** Why a loader does not serve what is active, in a few words; null where it does. */
export function whyNot(loader: LoaderReport, active: Active | null): string | null {
  if (hasConverged(loader, active)) return null;
  const { state, error, target, current } = loader;
  const towards = target?.version ?? 'a version';
  switch (state) {
    case 'failed':
      return error?.message || error?.code || 'failed and does not say why';
    case 'diverged':
      return 'follows a log that is no longer the same';
    case 'starting':
      return 'has not heard of a target yet';
    case 'stopped':
      return 'has stopped';
    case 'no-target':
      return `has not heard of ${active?.version} yet`;
    case 'ready':
      if (current && active && current.version === active.version) return `serves another ${current.version}`;
      return `serves ${current?.version ?? 'nothing'}`;
    default:
      return `${state} ${towards}`;
  }
}
