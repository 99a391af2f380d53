import { z } from 'zod';
import { Digest } from './digest.ts';
import { Manifest } from './manifest.ts';
import { isReferred } from './reference.ts';
import { Runtime } from './requires.ts';

/**
 * The active version of one environment. `revision` is the event that moved the environment. The event that moves it
 * omits it: its own revision is not known before it is appended.
 */
export interface ActivePointer {
  version: string;
  manifest_digest: Digest;
  published_revision: number;
  revision?: number;
}

/** The active version of every environment after the event: the last message of a subject is enough to know it. */
export type ActiveMap = Record<string, ActivePointer | null>;

// The entries need no schema: `evolve` compares each with the one that follows from the earlier events.
export const ActiveMap = z.custom<ActiveMap>(isObject, 'must be an object');

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What the registry found at a source when it verified the bytes there, to compare with at each fetch. */
const Verified = z.looseObject({ source: z.string(), etag: z.string().nullable() });

const move = { environment: z.string(), previous: z.string().nullable(), reason: z.string().nullable() };

/** The data of each event type in its current version. Unknown fields are kept: a newer writer may add some. */
export const eventData = {
  'version.published': z.looseObject({
    version: z.string(),
    manifest: Manifest,
    manifest_digest: Digest,
    notes: z.string(),
    /** One for each source of the manifest. */
    verified: z.array(Verified).optional(),
    active: ActiveMap,
  }),
  'version.activated': z.looseObject({
    ...move,
    version: z.string(),
    runtime_checked: z.boolean(),
    forced: z.boolean().optional(),
    active: ActiveMap,
  }),
  'version.rolled_back': z.looseObject({
    ...move,
    version: z.string().nullable(),
    reverts: z.array(z.int()).min(1),
    runtime_checked: z.boolean(),
    overridden: z.array(z.literal('runtime')).optional(),
    active: ActiveMap,
  }),
  'version.deactivated': z.looseObject({ ...move, version: z.null(), active: ActiveMap }),
  'version.archived': z.looseObject({ version: z.string(), reason: z.string().nullable(), active: ActiveMap }),
  'version.restored': z.looseObject({ version: z.string(), reason: z.string().nullable(), active: ActiveMap }),
  'notes.changed': z.looseObject({ version: z.string(), notes: z.string(), active: ActiveMap }),
  'runtime.declared': z.looseObject({ environment: z.string(), runtime: Runtime, active: ActiveMap }),
};

export type EventType = keyof typeof eventData;
export type EventData<T extends EventType> = z.infer<(typeof eventData)[T]>;
export const EVENT_TYPES = Object.keys(eventData) as EventType[];

/**
 * The newest version of each type; every version from 1 to it is read (docs/events.md, "How events change").
 * An optional field does not change it. A change needs an upcaster (log/upcast.ts), the audit's own (audit/rules/shape.ts)
 * and a recorded body (test/log/fixtures).
 */
export const EVENT_VERSIONS: Readonly<Record<EventType, number>> = {
  // 2: an artifact of the manifest may have a `source`.
  'version.published': 2,
  'version.activated': 1,
  'version.rolled_back': 1,
  'version.deactivated': 1,
  'version.archived': 1,
  'version.restored': 1,
  'notes.changed': 1,
  'runtime.declared': 1,
};

/** An event as the rules see it; the log wraps it in a CloudEvent. */
export type RegistryEvent = {
  [T in EventType]: {
    type: T;
    model: string;
    id: string;
    /** RFC 3339, UTC; never earlier than the model's previous event. */
    time: string;
    actor: string;
    request_id: string;
    data: EventData<T>;
    /** If the caller sent an idempotency key: the key and a digest of its command. */
    idempotency?: { key: string; command_hash: string };
    /** A reader that does not know the type or the version may skip the event. */
    ignorable?: true;
  };
}[EventType];

/**
 * The version in which an event is written: the oldest one that has all of its fields. So during an upgrade, an older server
 * prevents only what it could not read.
 */
export function versionOf(event: RegistryEvent): number {
  const isFirst = event.type === 'version.published' && !event.data.manifest.artifacts.some(isReferred);
  return isFirst ? 1 : EVENT_VERSIONS[event.type];
}

export const MOVE_TYPES = ['version.activated', 'version.rolled_back', 'version.deactivated'] as const;
export type MoveType = (typeof MOVE_TYPES)[number];
/** An event that moves an environment. */
export type MoveEvent = Extract<RegistryEvent, { type: MoveType }>;

export function isMoveType(type: EventType): type is MoveType {
  return MOVE_TYPES.some((move) => move === type);
}

export function isMove(event: RegistryEvent): event is MoveEvent {
  return isMoveType(event.type);
}

/** The result of a decision; `execute` adds id, time, actor and the rest. */
export type EventDraft = { [T in EventType]: { type: T; data: EventData<T>; ignorable?: true } }[EventType];
