import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { nanos } from '@nats-io/transport-node';
import type { Nats } from './connection.ts';

/** What every loader said last, a key each; in memory, since each says it again. */
export const BUCKET = 'signalbox_loaders';
/** Every change of what a loader serves, for auditors. */
export const LOADERS = 'LOADERS';

const MIB = 1024 * 1024;
const MAX_MESSAGE_BYTES = 16 * 1024;
const A_DAY_MS = 24 * 3600_000;

/** One token each, which both names are. */
export function keyOf(model: string, instance: string): string {
  return `${model}.${instance}`;
}

export function loaderSubject(key: string): string {
  return `registry.loaders.${key}`;
}

/** Makes the bucket where it is not there. Age is the bucket's own: 2.10 passes over that of a single key in silence. */
export async function ensureBucket({ nc, js }: Nats, maxAgeMs: number, bucket = BUCKET, mib = 64): Promise<void> {
  await new Kvm(js).create(bucket, {
    storage: StorageType.Memory,
    history: 1,
    ttl: maxAgeMs,
    max_bytes: mib * MIB,
    maxValueSize: MAX_MESSAGE_BYTES,
    replicas: replicasOf(nc),
  });
}

const loaders = {
  name: LOADERS,
  subjects: [loaderSubject('*.*')],
  storage: StorageType.File,
  retention: RetentionPolicy.Limits,
  discard: DiscardPolicy.Old,
  max_age: nanos(30 * A_DAY_MS),
  max_bytes: 256 * MIB,
  // One loader that fails over and over pushes out its own past, not that of the others.
  max_msgs_per_subject: 1_000,
  max_msg_size: MAX_MESSAGE_BYTES,
} satisfies Partial<StreamConfig>;

/** Makes the stream of changes where it is not there. */
export async function ensureLoaders({ nc, jsm }: Nats): Promise<void> {
  try {
    await jsm.streams.info(LOADERS);
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== JetStreamApiCodes.StreamNotFound) throw error;
    await jsm.streams.add({ ...loaders, num_replicas: replicasOf(nc) });
  }
}

/** When the stream is short of room, and how many changes each model keeps then. */
export interface Share {
  /** Bytes in the stream from which on models are held to their share; below, nobody loses anything. */
  shortFrom: number;
  /** Changes that a model keeps: with the largest messages, less than half of the stream. */
  keep: number;
}

export const SHARE: Share = { shortFrom: 192 * MIB, keep: 8_000 };

/**
 * Takes the oldest changes away from models that have more than their share, before the stream, once full, takes those of
 * every model: a loader may make up instances, and so has no bound by subject alone.
 */
export async function holdToShare({ jsm }: Nats, { shortFrom, keep }: Share = SHARE): Promise<void> {
  const { state } = await jsm.streams.info(LOADERS, { subjects_filter: loaderSubject('>') });
  if (state.bytes < shortFrom) return;
  const changes = new Map<string, number>();
  for (const [subject, count] of Object.entries(state.subjects ?? {})) {
    const ofModel = loaderSubject(`${subject.split('.')[2]}.*`);
    changes.set(ofModel, (changes.get(ofModel) ?? 0) + count);
  }
  for (const [filter, count] of changes) if (count > keep) await jsm.streams.purge(LOADERS, { filter, keep });
}

function replicasOf(nc: Nats['nc']): number {
  return nc.info?.cluster ? 3 : 1;
}
