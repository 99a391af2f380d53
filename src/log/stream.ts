import { setTimeout as sleep } from 'node:timers/promises';
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  StoreCompression,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import type { Nats } from './connection.ts';

export const STREAM = 'REGISTRY';
const PREFIX = 'registry.models.';

/** One subject a model: the unit of consistency. */
export function subjectOf(model: string): string {
  return PREFIX + model;
}

export function modelOf(subject: string): string {
  return subject.slice(PREFIX.length);
}

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
} satisfies Partial<StreamConfig>;

const created = {
  ...required,
  name: STREAM,
  max_msg_size: 512 * 1024,
  allow_direct: true,
  metadata: { application: 'signalbox', generation: '0' },
};

/**
 * Makes the stream where it is not there; one that is there is never edited.
 *
 * @throws {Error} where it is there with another configuration, which could drop or rewrite history
 */
export async function ensureStream({ nc, jsm }: Nats): Promise<void> {
  const info = (await streamInfo(jsm)) ?? (await create());
  const wrong = Object.entries(required)
    .filter(([key, value]) => String(info.config[key as keyof typeof required] ?? false) !== String(value))
    .map(([key, value]) => `${key} must be ${value}`);
  if (wrong.length > 0)
    throw new Error(`The stream ${STREAM} is there with another configuration: ${wrong.join('; ')}.`);

  async function create(): Promise<StreamInfo> {
    const num_replicas = nc.info?.cluster ? 3 : 1;
    const deadline = Date.now() + 30_000;
    for (;;) {
      try {
        return await jsm.streams.add({ ...created, num_replicas });
      } catch (error) {
        // Not all nodes of a young cluster are known to its leader at once.
        if (num_replicas === 1 || Date.now() > deadline) throw error;
        await sleep(500);
      }
    }
  }
}

async function streamInfo(jsm: Nats['jsm']): Promise<StreamInfo | null> {
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
}

export async function readHead({ jsm }: Nats): Promise<LogHead> {
  const { state, config } = await jsm.streams.info(STREAM);
  return { revision: state.last_seq, generation: Number(config.metadata?.generation ?? 0) };
}
