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
export async function ensureBucket({ nc, js }: Nats, maxAgeMs: number): Promise<void> {
  await new Kvm(js).create(BUCKET, {
    storage: StorageType.Memory,
    history: 1,
    ttl: maxAgeMs,
    max_bytes: 64 * MIB,
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

function replicasOf(nc: Nats['nc']): number {
  return nc.info?.cluster ? 3 : 1;
}
