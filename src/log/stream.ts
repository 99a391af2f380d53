import { setTimeout as sleep } from 'node:timers/promises';
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  PersistMode,
  RetentionPolicy,
  StorageType,
  StoreCompression,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import type { Nats } from './connection.ts';
import { PREFIX, STREAM } from './subjects.ts';

export { modelOf, STREAM, subjectOf } from './subjects.ts';

const MAX_MESSAGE_BYTES = 512 * 1024;
/** The server counts a message's headers, too. */
export const MAX_EVENT_BYTES = MAX_MESSAGE_BYTES - 1024;

const required = {
  subjects: [`${PREFIX}*`],
  storage: StorageType.File,
  retention: RetentionPolicy.Limits,
  discard: DiscardPolicy.New,
  deny_delete: true,
  deny_purge: true,
  allow_rollup_hdrs: false,
  max_age: 0,
  max_msgs: -1,
  max_msgs_per_subject: -1,
  // Compacting compressed blocks corrupted them until 2.12.12 and 2.14.3; events are tiny anyway.
  compression: StoreCompression.None,
  // Single messages are read from any replica.
  allow_direct: true,
} satisfies Partial<StreamConfig>;

/**
 * What must not be set, by servers that know it: it expires messages, changes them, lets in others that keep to no
 * expectation, acknowledges what is not stored, or says what was stored under another subject, such as a request's.
 */
const forbidden = [
  'allow_msg_ttl',
  'allow_msg_counter',
  'allow_msg_schedules',
  'mirror',
  'no_ack',
  'republish',
  'sealed',
  'sources',
  'subject_transform',
] satisfies (keyof StreamConfig)[];

const created = {
  ...required,
  name: STREAM,
  max_msg_size: MAX_MESSAGE_BYTES,
  metadata: { application: 'signalbox', generation: '0' },
};

/** In the stream's metadata while a restore is not finished: nobody may follow it yet, nor append to it. */
export const RESTORING = 'restoring';

/**
 * Makes the stream where it is not there; one that is there is never edited.
 *
 * @throws {Error} where it is there with another configuration, which could drop or rewrite history; where a restore into
 *   it is not finished
 */
export async function ensureStream(nats: Nats): Promise<void> {
  const { config } = await findOrCreateStream(nats, created.metadata);
  if (config.metadata?.[RESTORING] === undefined) return;
  throw new Error(`A restore into the stream ${STREAM} is not finished: run signalbox restore again.`);
}

/** Three nodes of 2.10 on two busy cores have answered "no suitable peers for placement" for 30 s. */
const YOUNG_CLUSTER_MS = 60_000;

/**
 * The stream; where there is none, a new one with this metadata.
 *
 * @throws {Error} where it is there with another configuration
 */
export async function findOrCreateStream({ nc, jsm }: Nats, metadata: Record<string, string>): Promise<StreamInfo> {
  const num_replicas = nc.info?.cluster ? 3 : 1;
  const deadline = Date.now() + YOUNG_CLUSTER_MS;
  const info = await findOrCreate();
  const wrong = dangersOf(info.config);
  if (wrong.length === 0) return info;
  throw new Error(`The stream ${STREAM} is there with another configuration: ${wrong.join('; ')}.`);

  async function findOrCreate(): Promise<StreamInfo> {
    for (;;) {
      try {
        return (await streamInfo(jsm)) ?? (await jsm.streams.add({ ...created, metadata, num_replicas }));
      } catch (error) {
        // In a young cluster the leader does not know all nodes at once, and the stream may have no leader yet.
        if (num_replicas === 1 || Date.now() > deadline) throw error;
        await sleep(500);
      }
    }
  }
}

/** What in the configuration could drop or rewrite history; empty for a stream as `ensureStream` makes it. */
export function dangersOf(config: StreamConfig): string[] {
  const other = Object.entries(required)
    .filter(([key, value]) => String(config[key as keyof typeof required] ?? false) !== String(value))
    .map(([key, value]) => `${key} must be ${value}`);
  const set = forbidden.filter((key) => config[key]).map((key) => `${key} must not be set`);
  // It overrides `sync_interval: always`: what was acknowledged may not be on the disk.
  return [...other, ...set, ...(config.persist_mode === PersistMode.Async ? ['persist_mode must not be async'] : [])];
}

/** The stream as the server knows it; null where there is none. */
export async function streamInfo(jsm: Nats['jsm']): Promise<StreamInfo | null> {
  try {
    return await jsm.streams.info(STREAM);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return null;
    throw error;
  }
}

export interface LogHead {
  /** The last revision; 0 for an empty log. */
  revision: number;
  /** Raised only by a restore: a log of a higher generation may go backwards or be another one. */
  generation: number;
  /** Whether it is being restored, and so not whole yet. */
  restoring: boolean;
}

export async function readHead({ jsm }: Nats): Promise<LogHead> {
  return headOf(await jsm.streams.info(STREAM));
}

export function headOf({ state, config: { metadata = {} } }: StreamInfo): LogHead {
  return {
    revision: state.last_seq,
    generation: Number(metadata.generation ?? 0),
    restoring: metadata[RESTORING] !== undefined,
  };
}
