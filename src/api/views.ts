import { z } from 'zod';
import { Digest } from '../domain/digest.ts';
import { EVENT_TYPES, type MoveEvent } from '../domain/events.ts';
import { Manifest } from '../domain/manifest.ts';
import { activeIn, activeVersion, environmentOf, type Model, type VersionState } from '../domain/model.ts';
import { Runtime } from '../domain/requires.ts';

// The shapes of models, versions and events in the API: a contract with users' scripts.
export const VersionView = z
  .object({
    model: z.string(),
    version: z.string(),
    status: z.enum(['ready', 'archived']),
    active_flag: z.boolean().meta({ description: 'Active in any environment' }),
    active_in: z.array(z.string()),
    notes: z.string(),
    published_at: z.iso.datetime(),
    published_by: z.string(),
    revision: z.int(),
    manifest_digest: Digest,
    manifest: Manifest,
  })
  .meta({ id: 'Version' });
export type VersionView = z.infer<typeof VersionView>;

export function versionView(model: Where, state: VersionState): VersionView {
  return { ...versionFields(model, state), manifest: state.manifest };
}

/** Whether the folder of a version is on a server's volume; if not, what prevents it. */
export const LaidView = z.object({ version: z.string(), laid: z.boolean(), warnings: z.array(z.string()) });
export type LaidView = z.infer<typeof LaidView>;

/** What a view needs of a model: also of one in the past. */
type Where = Pick<Model, 'name' | 'environments'>;

/** Returns the fields of a `VersionView` but the manifest, which is the last one. */
export function versionFields(model: Where, state: Omit<VersionState, 'manifest'>): Omit<VersionView, 'manifest'> {
  const active_in = activeIn(model, state.version);
  const { version, status, notes, published_at, published_by, revision, manifest_digest } = state;
  const published = { notes, published_at, published_by, revision, manifest_digest };
  return { model: model.name, version, status, active_flag: active_in.length > 0, active_in, ...published };
}

export const ActiveView = VersionView.extend({
  environment: z.string(),
  activated: z.object({ at: z.string(), by: z.string(), reason: z.string().nullable(), revision: z.int() }),
}).meta({ id: 'ActiveVersion' });

/** Returns the active version of an environment; null if nothing is active. */
export function activeView(
  model: Where & Pick<Model, 'version'>,
  environment: string,
): z.infer<typeof ActiveView> | null {
  const active = activeVersion(model, environment);
  if (active === null) return null;
  const version = model.version(active)!;
  const { at, by, reason, revision } = environmentOf(model, environment).moved!;
  return { ...versionView(model, version), environment, activated: { at, by, reason, revision } };
}

export const MoveView = z
  .object({
    environment: z.string(),
    active: VersionView.nullable(),
    previous: VersionView.nullable(),
    revision: z.int(),
    runtime_checked: z.boolean(),
    warnings: z.array(z.string()),
    dry_run: z.boolean(),
    checks: z
      .array(z.object({ rule: z.string(), ok: z.boolean(), detail: z.string() }))
      .optional()
      .meta({ description: 'Of a dry run: every rule that was checked' }),
  })
  .meta({ id: 'Move' });

/** Returns what an activation, rollback or deactivation did, or would do. */
export function moveView(
  model: Model,
  { data }: MoveEvent,
  rest: Pick<MoveView, 'revision' | 'warnings' | 'dry_run' | 'checks'>,
): MoveView {
  const view = (version: string | null) => version && versionView(model, model.version(version)!);
  return {
    environment: data.environment,
    active: view(data.version) || null,
    previous: view(data.previous) || null,
    runtime_checked: 'runtime_checked' in data && data.runtime_checked === true,
    ...rest,
  };
}

/** The runtime declared for an environment; null before the first declaration, empty if it was cleared. */
export const RuntimeView = z.object({ environment: z.string(), runtime: Runtime.nullable(), revision: z.int() });
export type RuntimeView = z.infer<typeof RuntimeView>;

export const ModelView = z
  .object({
    model: z.string(),
    latest: z.string().nullable(),
    active: z.record(z.string(), z.string().nullable()),
    versions: z.int(),
    revision: z.int(),
  })
  .meta({ id: 'Model' });

/** The answers of `/models` and `/models/latest`, which the gateway forwards. */
export const ShortModelView = z.object({
  versions: z.array(z.string()),
  latest: z.string().nullable(),
  active: z.string().nullable(),
});
export const ShortLatestView = z.object({ version: z.string(), metadata: z.json() });

export const EventView = z
  .object({
    revision: z.int(),
    type: z.enum(EVENT_TYPES),
    time: z.iso.datetime(),
    actor: z.string(),
    request_id: z.string(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'Event' });

export type ActiveView = z.infer<typeof ActiveView>;
export type MoveView = z.infer<typeof MoveView>;
export type ModelView = z.infer<typeof ModelView>;
export type EventView = z.infer<typeof EventView>;
