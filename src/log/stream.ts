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
/** Less than the limit of a message, because the server also counts the headers. */
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
  // Before 2.12.12 and 2.14.3, compaction corrupted compressed blocks. Events are small anyway.
  compression: StoreCompression.None,
  // Lets any replica answer reads of single messages.
  allow_direct: true,
} satisfies Partial<StreamConfig>;

/**
 * Settings that must be off, on servers that know them. They expire or change messages, add messages without checking
 * the expected revision, break acknowledgements, or repeat stored messages on other subjects, such as those of requests.
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

const initial = {
  ...required,
  name: STREAM,
  max_msg_size: MAX_MESSAGE_BYTES,
  metadata: { application: 'signalbox', generation: '0' },
};

/** Metadata key that is set until a restore is finished. Until then the stream must not be read or appended to. */
export const RESTORING = 'restoring';

/**
 * Creates the stream if it is missing; never changes an existing one.
 *
 * @throws {Error} if its configuration could drop or rewrite history, or a restore into it is not finished
 */
export async function ensureStream(nats: Nats): Promise<void> {
  const { config } = await findOrCreateStream(nats, initial.metadata);
  if (config.metadata?.[RESTORING] === undefined) return;
  throw new Error(`A restore into the stream ${STREAM} is not finished: run signalbox restore again.`);
}

/** A node that does not join by then must be restarted (docs/troubleshooting.md, "no suitable peers for placement"). */
const CLUSTER_START_MS = 60_000;

/**
 * Returns the stream; creates it with this metadata if it is missing.
 *
 * @throws {Error} if its configuration could drop or rewrite history
 */
export async function findOrCreateStream({ nc, jsm }: Nats, metadata: Record<string, string>): Promise<StreamInfo> {
  const num_replicas = replicasOf(nc);
  const deadline = Date.now() + CLUSTER_START_MS;
  const info = await findOrCreate();
  const wrong = dangersOf(info.config);
  if (wrong.length === 0) return info;
  throw new Error(`The stream ${STREAM} has an unsafe configuration: ${wrong.join('; ')}.`);

  async function findOrCreate(): Promise<StreamInfo> {
    for (;;) {
      try {
        return (await streamInfo(jsm)) ?? (await jsm.streams.add({ ...initial, metadata, num_replicas }));
      } catch (error) {
        // In a cluster that has just started, nodes may be unknown to the leader and the stream may have no leader.
        if (num_replicas === 1 || Date.now() > deadline) throw error;
        await sleep(500);
      }
    }
  }
}

/** Lists the settings that could drop or rewrite history; empty for a stream that `ensureStream` created. */
export function dangersOf(config: StreamConfig): string[] {
  const other = Object.entries(required)
    .filter(([key, value]) => String(config[key as keyof typeof required] ?? false) !== String(value))
    .map(([key, value]) => `${key} must be ${value}`);
  const set = forbidden.filter((key) => config[key]).map((key) => `${key} must not be set`);
  // `async` overrides `sync_interval: always`: acknowledged messages may not be on disk.
  return [...other, ...set, ...(config.persist_mode === PersistMode.Async ? ['persist_mode must not be async'] : [])];
}

/** Returns the server's information about a stream; null if it is missing. */
export async function streamInfo(jsm: Nats['jsm'], name = STREAM): Promise<StreamInfo | null> {
  try {
    return await jsm.streams.info(name);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return null;
    throw error;
  }
}

export function replicasOf(nc: Nats['nc']): number {
  return nc.info?.cluster ? 3 : 1;
}

export interface LogHead {
  /** The last revision; 0 for an empty log. */
  revision: number;
  /** Only a restore raises it: a log of a higher generation may be shorter or have other content. */
  generation: number;
  /** Whether a restore is not finished, so that the log is incomplete. */
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
