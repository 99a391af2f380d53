import { JetStreamApiError } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { abortable } from '../../structures/abortable.ts';
import type { Bucket } from './bucket.ts';
import { purgeChunks } from './nats/chunks.ts';
import { listMetas } from './nats/list.ts';
import { findObject, readMeta, writeMeta } from './nats/meta.ts';
import { openObject } from './nats/read.ts';
import { OBJECTS, type ObjectStream, openObjects } from './nats/stream.ts';
import { sweepChunks } from './nats/sweep.ts';
import { beginUpload, type NatsUpload } from './nats/upload.ts';

export interface NatsBucket extends Bucket {
  begin(key: string, signal: AbortSignal): Promise<NatsUpload>;
}

export interface NatsBucketOptions {
  /** For messages, such as `nats:`. */
  name: string;
  /** The largest size of the object store, if this creates it. Without it, only the server's own limits hold. */
  maxBytes?: number;
  /** The largest object. */
  maxObjectBytes?: number;
  /** How long each request waits for its answer. */
  timeoutMs?: number;
}

/** Every replica stores every byte, and reads all of it when it starts. */
const MAX_OBJECT_BYTES = 1024 * 1024 * 1024;
const TIMEOUT_MS = 30_000;
/** Changes by others after which a deletion gives up. */
const ATTEMPTS = 20;

/**
 * Opens the object store of a NATS, and creates it if it is missing: for installations without object storage.
 *
 * @param connection a connection that stays open, such as the log's; or opens one, which is closed with the bucket
 */
export async function createNatsBucket(
  connection: NatsConnection | (() => Promise<NatsConnection>),
  { name, maxBytes = -1, maxObjectBytes = MAX_OBJECT_BYTES, timeoutMs = TIMEOUT_MS }: NatsBucketOptions,
): Promise<NatsBucket> {
  const isOwn = typeof connection === 'function';
  const nc = isOwn ? await connection() : connection;
  try {
    const stream = await openObjects(nc, maxBytes, { name, timeoutMs, maxObjectBytes });
    return { ...bucketOf(stream), close: async () => void (isOwn && (await nc.close())) };
  } catch (error) {
    if (isOwn) await nc.close();
    throw error;
  }
}

function bucketOf(stream: ObjectStream): NatsBucket {
  return {
    name: stream.name,
    // Parts of one object are stored in the order of their arrival.
    limits: { size: stream.maxObjectBytes, parts: 10_000, parallel: 1 },

    async put(key, bytes, sha256, signal) {
      const upload = beginUpload(stream, key);
      try {
        await upload.send(1, bytes, sha256, signal);
        await upload.complete(signal);
      } catch (error) {
        await upload.abort();
        throw error;
      }
    },

    begin: async (key) => beginUpload(stream, key),

    async read(key, range, signal) {
      const found = await abortable(findObject(stream, key), signal);
      return found && openObject(stream, found, range, signal);
    },

    async stat(key, signal) {
      const found = await abortable(findObject(stream, key), signal);
      return found && { size: found.meta.size, modified: found.modified };
    },

    renew: (key, signal) => abortable(renew(stream, key), signal),

    async *list(prefix, signal) {
      const { state } = await abortable(stream.jsm.streams.info(OBJECTS), signal);
      for await (const { meta, revision, modified } of listMetas(stream, signal)) {
        // Stored or renewed since, and so perhaps listed before.
        if (revision > state.last_seq) return;
        if (meta.deleted || !meta.name.startsWith(prefix)) continue;
        yield { key: meta.name, size: meta.size, modified };
      }
    },

    delete: (key, signal) => abortable(remove(stream, key), signal),

    sweepUploads: (before, signal) => sweepChunks(stream, before, signal),
  };
}

async function renew(stream: ObjectStream, key: string): Promise<void> {
  const found = await findObject(stream, key);
  // If it is refused, another client renewed or deleted the object meanwhile.
  if (found) await writeMeta(stream, found.meta, found.revision);
}

/**
 * Deletes the description, and then the chunks. The client's own `delete` leaves a message for each name that ever existed,
 * and may hide an object that was put meanwhile.
 */
async function remove(stream: ObjectStream, key: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const found = await readMeta(stream, key);
    if (!found) return;
    try {
      await stream.jsm.streams.deleteMessage(OBJECTS, found.revision, false);
    } catch (error) {
      // It is refused if another client renewed or deleted the object meanwhile.
      if (!(error instanceof JetStreamApiError) || attempt === ATTEMPTS) throw error;
      continue;
    }
    await purgeChunks(stream, found.meta.nuid);
    return;
  }
}
