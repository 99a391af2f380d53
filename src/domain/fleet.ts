import { z } from 'zod';
import { Digest } from './digest.ts';
import type { ActiveMap, ActivePointer } from './events.ts';
import { EnvironmentName } from './names.ts';
import { Runtime } from './requires.ts';
import { Version } from './versions.ts';

/** The name of a loader process: valid as a token of a NATS subject and as a path segment. */
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

/** Errors that only another move of the environment can resolve. */
export const PERMANENT_ERRORS = [
  'digest-mismatch',
  'runtime-mismatch',
  'golden-mismatch',
  'unknown-environment',
] as const;
/** Errors after which a loader retries. */
export const PASSING_ERRORS = ['fetch-failed', 'cache-full', 'hydrate-failed', 'load-timeout'] as const;
export const LOADER_ERRORS = [...PERMANENT_ERRORS, ...PASSING_ERRORS] as const;
export type LoaderErrorCode = (typeof LOADER_ERRORS)[number];

/** A version that an environment was moved to, and the revision of that event. */
export const Target = z.strictObject({ version: Version, manifest_digest: Digest, revision: z.int().positive() });
export type Target = z.infer<typeof Target>;

/** The active version of an environment. `revision` is missing only while the environment is being moved. */
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

/** Size as JSON: each report is one NATS message. */
export const MAX_REPORT_BYTES = 15 * 1024;

/** A loader's report on itself. */
export const LoaderReport = z
  .strictObject(report)
  .refine(
    (report) => Buffer.byteLength(JSON.stringify(report)) <= MAX_REPORT_BYTES,
    `must not be larger than ${MAX_REPORT_BYTES} bytes`,
  );
export type LoaderReport = z.infer<typeof LoaderReport>;

/** A stored report. It may have unknown fields of a newer loader. */
export const HeardReport = z.object(report);

/** A report as the API returns it. */
export const LoaderView = z
  .object({ model: z.string(), instance: z.string(), reported_at: Time, ...report })
  .meta({ id: 'Loader' });
export type LoaderView = z.infer<typeof LoaderView>;

/** How many loaders of an environment serve its active version. */
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

/** Counts by environment: for those in `active`, and for others that loaders report. */
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

/** Whether a loader serves the active version; if nothing is active, whether it knows that. */
export function hasConverged({ state, current }: LoaderReport, active: Active | null): boolean {
  if (active === null) return state === 'no-target';
  return state === 'ready' && current !== null && isSameVersion(current, active);
}

export function hasFailed({ state }: LoaderReport): boolean {
  return state === 'failed' || state === 'diverged';
}

/** Whether a loader has given up on the active version until the environment is moved again. */
export function hasGivenUp({ state, error, target }: LoaderReport, active: Active | null): boolean {
  if (state !== 'failed' || !error || !PERMANENT_ERRORS.some((code) => code === error.code)) return false;
  // The revision identifies the target: the error may be of an earlier one. An unknown environment has no target.
  return error.code === 'unknown-environment' || target?.revision === active?.revision;
}

export function isSameVersion(one: Omit<Target, 'revision'>, other: Omit<Target, 'revision'>): boolean {
  return one.version === other.version && one.manifest_digest === other.manifest_digest;
}

/** Why a loader does not serve the active version, in a few words; null if it does. */
export function whyNot(loader: LoaderReport, active: Active | null): string | null {
  if (hasConverged(loader, active)) return null;
  const { state, error, target, current } = loader;
  const towards = target?.version ?? 'a version';
  switch (state) {
    case 'failed':
      return error?.message || error?.code || 'failed without a reason';
    case 'diverged':
      return 'follows another log than before';
    case 'starting':
      return 'does not know the active version yet';
    case 'stopped':
      return 'has stopped';
    case 'no-target':
      return `does not know that ${active?.version} is active yet`;
    case 'ready':
      if (current && active && current.version === active.version)
        return `serves ${current.version} with another manifest`;
      return `serves ${current?.version ?? 'nothing'}`;
    default:
      return `${state} ${towards}`;
  }
}
