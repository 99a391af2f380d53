import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { nanos } from '@nats-io/transport-node';
import type { Nats } from './connection.ts';
import { replicasOf, streamInfo } from './stream.ts';

/** The last report of every loader, by key. In memory, because loaders repeat their reports. */
export const BUCKET = 'signalbox_loaders';
/** Every change of what a loader serves, kept for audits. */
export const LOADERS = 'LOADERS';

const MIB = 1024 * 1024;
const MAX_MESSAGE_BYTES = 16 * 1024;
const A_DAY_MS = 24 * 3600_000;

/** Returns the key of a loader. Both names are single tokens of a NATS subject. */
export function keyOf(model: string, instance: string): string {
  return `${model}.${instance}`;
}

export function loaderSubject(key: string): string {
  return `registry.loaders.${key}`;
}

/** Creates the bucket if it is missing. The age is set on the bucket, because 2.10 silently ignores it on a single key. */
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
  // A loader that fails again and again pushes out only its own changes.
  max_msgs_per_subject: 1_000,
  max_msg_size: MAX_MESSAGE_BYTES,
} satisfies Partial<StreamConfig>;

/** Creates the stream of changes if it is missing. */
export async function ensureLoaders({ nc, jsm }: Nats): Promise<void> {
  if (await streamInfo(jsm, LOADERS)) return;
  await jsm.streams.add({ ...loaders, num_replicas: replicasOf(nc) });
}

/** When the stream is short of space, and how many changes each model then keeps. */
export interface Share {
  /** Size of the stream in bytes from which models are trimmed to their share. */
  fromBytes: number;
  /** Changes that a model keeps. Even with messages of the maximum size they take less than half of the stream. */
  keep: number;
}

export const SHARE: Share = { fromBytes: 192 * MIB, keep: 8_000 };

/**
 * Removes the oldest changes of models that have more than their share, before the stream is full and drops those of every
 * model. The limit of each subject is not enough: a loader can invent any number of instance names.
 */
export async function trimToShare({ jsm }: Nats, { fromBytes, keep }: Share = SHARE): Promise<void> {
  const { state } = await jsm.streams.info(LOADERS, { subjects_filter: loaderSubject('>') });
  if (state.bytes < fromBytes) return;
  const changes = new Map<string, number>();
  for (const [subject, count] of Object.entries(state.subjects ?? {})) {
    const ofModel = loaderSubject(`${subject.split('.')[2]}.*`);
    changes.set(ofModel, (changes.get(ofModel) ?? 0) + count);
  }
  for (const [filter, count] of changes) if (count > keep) await jsm.streams.purge(LOADERS, { filter, keep });
}
