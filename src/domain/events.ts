import { z } from 'zod';
import { Digest } from './digest.ts';
import { Manifest } from './manifest.ts';
import { Runtime } from './requires.ts';

/**
 * What is active in one environment. `revision` is that of the event that moved it, and left out in the very event
 * that moves it, whose revision is not known before it is appended.
 */
export interface ActivePointer {
  version: string;
  manifest_digest: Digest;
  published_revision: number;
  revision?: number;
}

/** The model's whole map after the event: the last message of a subject answers "what is active". */
export type ActiveMap = Record<string, ActivePointer | null>;

// Its entries need no schema: `evolve` compares the map with what follows from the events before, entry by entry.
const ActiveMap = z.custom<ActiveMap>(isObject, 'must be an object');

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const move = { environment: z.string(), previous: z.string().nullable(), reason: z.string().nullable() };

/** The data of each type of event. Unknown fields are kept: a newer writer may say more. */
export const eventData = {
  'version.published': z.looseObject({
    version: z.string(),
    manifest: Manifest,
    manifest_digest: Digest,
    notes: z.string(),
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

/** An event as the rules see it; the log wraps it as a CloudEvent. */
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
    /** Where the caller sent an idempotency key: the key, and a digest of the command it came with. */
    idempotency?: { key: string; command_hash: string };
  };
}[EventType];

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

/** What a decision makes: the type and data; the dispatcher adds id, time, actor and the rest. */
export type EventDraft = { [T in EventType]: { type: T; data: EventData<T> } }[EventType];
