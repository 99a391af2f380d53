import type { Digest } from '../../domain/digest.ts';
import type { ByteRange } from '../store.ts';

/**
 * The object storage behind a store, as little as object-store.ts needs of it. Keys are names below the store's prefix. An
 * operation that takes too long, or whose `signal` is aborted, fails. Errors are converted by `unavailable` (failure.ts).
 */
export interface Bucket {
  /** For messages, such as `s3://models/fraud`. Has no credentials. */
  name: string;
  limits: BucketLimits;
  /** Stores an object of one part. The store verifies the SHA-256, if it can. */
  put(key: string, bytes: Buffer, sha256: Buffer, signal: AbortSignal): Promise<void>;
  /** Begins an object of several parts, which is invisible until it is completed. */
  begin(key: string, signal: AbortSignal): Promise<PartUpload>;
  /** Opens an object or a part of it; null if it does not exist. */
  read(key: string, range: ByteRange | null, signal: AbortSignal): Promise<OpenObject | null>;
  stat(key: string, signal: AbortSignal): Promise<ObjectStat | null>;
  /** Sets the time of an object to now, if it exists, without sending its bytes. The storage may copy them. */
  renew(key: string, signal: AbortSignal): Promise<void>;
  list(prefix: string, signal: AbortSignal): AsyncIterable<{ key: string } & ObjectStat>;
  /** Deletes an object, if it exists. */
  delete(key: string, signal: AbortSignal): Promise<void>;
  /** Ends uploads of several parts that began before `before`; returns how many. Absent if the storage does so itself. */
  sweepUploads?(before: number, signal: AbortSignal): Promise<number>;
  /** Returns an address that reads an object without a credential. Absent if the storage has none. */
  addressOf?(key: string, seconds: number): Promise<string>;
  close?(): Promise<void>;
}

export interface BucketLimits {
  /** The largest object. */
  size: number;
  /** The number of parts of an object. */
  parts: number;
  /** How many parts of an object are sent at once. */
  parallel: number;
}

/** An object that is being sent in parts. Every one ends with `complete` or `abort`. */
export interface PartUpload {
  /** Sends a part; numbers begin at 1. All parts but the last have the same size. `bytes` are not used after it resolves. */
  send(number: number, bytes: Buffer, sha256: Buffer, signal: AbortSignal): Promise<void>;
  /** Makes the object visible. If it may resolve without having done so, the size of the object tells. */
  complete(signal: AbortSignal): Promise<void>;
  /** Discards the parts. Does not throw: what is left is swept later. */
  abort(signal: AbortSignal): Promise<void>;
}

export interface OpenObject {
  /** The number of bytes that `bytes` yields, unless the connection is cut. */
  length: number;
  bytes: AsyncIterable<Uint8Array>;
  /** The ETag of the whole object, or its generation: another one after each change. Absent if the storage has none. */
  etag?: string | undefined;
}

export interface ObjectStat {
  size: number;
  /** In ms since 1970, by the storage's clock. */
  modified: number;
}

export const BLOBS = 'sha256/';
export const OWNER_KEY = '.signalbox/owner';

export function keyOf(digest: Digest): string {
  return BLOBS + digest.slice('sha256:'.length);
}
