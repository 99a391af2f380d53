import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  StorageType,
  type StreamConfig,
} from '@nats-io/jetstream';
import { Base64UrlPaddedCodec, Objm } from '@nats-io/obj';
import type { NatsConnection } from '@nats-io/transport-node';
import { Problem } from '../../../domain/errors.ts';

interface Settings {
  /** For messages. */
  name: string;
  /** How long each request waits for its answer. */
  timeoutMs: number;
  maxObjectBytes: number;
}

/** The stream of an object store, and what is needed to use it. */
export interface ObjectStream extends Settings {
  nc: NatsConnection;
  js: JetStreamClient;
  jsm: JetStreamManager;
  /** The size of a chunk: as large as the server's limit for a message allows. */
  chunkBytes: number;
}

export const BUCKET = 'SIGNALBOX_ARTIFACTS';
export const OBJECTS = `OBJ_${BUCKET}`;
/** The subjects of all chunks, and of the descriptions of all objects. */
export const CHUNKS = `$O.${BUCKET}.C.`;
export const METAS = `$O.${BUCKET}.M.`;

/** Headers of a chunk, which other clients ignore: where in the object it begins, for ranges; and of which object, for the sweep. */
export const OFFSET = 'Signalbox-Offset';
export const KEY = 'Signalbox-Key';

/** The default of the clients, 128 KiB, is a third slower. */
const CHUNK_BYTES = 512 * 1024;
/** The server counts the headers of a message, too. */
const HEADER_BYTES = 1024;

export function chunksOf(nuid: string): string {
  return CHUNKS + nuid;
}

/** Names may contain any characters, subjects not: the clients encode them. */
export function metaOf(key: string): string {
  return METAS + Base64UrlPaddedCodec.encode(key);
}

/** Other settings drop or refuse objects. `allow_direct` lets any replica answer reads of chunks. */
const REQUIRED = {
  storage: StorageType.File,
  discard: DiscardPolicy.New,
  max_age: 0,
  sealed: false,
  allow_direct: true,
} satisfies Partial<StreamConfig>;

/**
 * Opens the object store, and creates it if it is missing; never changes an existing one.
 *
 * @throws {Error} if its configuration could drop objects
 */
export async function openObjects(nc: NatsConnection, maxBytes: number, settings: Settings): Promise<ObjectStream> {
  const js = jetstream(nc, { timeout: settings.timeoutMs });
  const replicas = nc.info?.cluster ? 3 : 1;
  await new Objm(js).create(BUCKET, { storage: StorageType.File, replicas, max_bytes: maxBytes });
  const jsm = await js.jetstreamManager();
  checkConfig((await jsm.streams.info(OBJECTS)).config);
  const chunkBytes = Math.min(CHUNK_BYTES, nc.info!.max_payload - HEADER_BYTES);
  return { ...settings, nc, js, jsm, chunkBytes };
}

function checkConfig(config: StreamConfig): void {
  const wrong = Object.entries(REQUIRED)
    .filter(([key, value]) => (config[key as keyof typeof REQUIRED] ?? false) !== value)
    .map(([key, value]) => `${key} must be ${value}`);
  if (wrong.length > 0) throw new Error(`The stream ${OBJECTS} has an unsafe configuration: ${wrong.join('; ')}.`);
}

/** The account's limit; insufficient resources; storage exceeded; and a failure of the store itself: `max_bytes` or ENOSPC. */
const FULL = [10002, 10023, 10047, 10077];

/** Converts the refusal of a message that has no place. Other errors are returned unchanged. */
export function fullOr(error: unknown, name: string): unknown {
  if (!(error instanceof JetStreamApiError && FULL.includes(error.code))) return error;
  const detail = `The artifact store ${name} is full: delete versions, or raise max_bytes of the stream ${OBJECTS}.`;
  return new Problem('volume-full', detail, {}, error);
}
