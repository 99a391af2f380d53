import type { Readable } from 'node:stream';
import type { Digest } from '../domain/digest.ts';

/** The bytes from `start` to `end`, both inclusive, counted from 0. */
export interface ByteRange {
  start: number;
  end: number;
}

export interface BlobStat {
  size: number;
  /** When the blob was last put, in ms since 1970, by the store's clock. The collector keeps it for at least `GRACE_MS` from then on. */
  stored_at: number;
}

/**
 * Stores blobs, the bytes of artifacts, by the SHA-256 of their content. A stored blob never changes. If the store cannot be
 * reached, refuses its credentials or fails, every method throws a {Problem} store-unavailable. Each method ends when its
 * `signal` is aborted.
 */
export interface ArtifactStore {
  /**
   * Stores the bytes durably before it resolves, and only if they have this digest and, if given, this size. After an error
   * nothing is stored. Reads `bytes` to the end in constant memory; a chunk is valid until the next one is requested. If the
   * blob exists, only renews its `stored_at`.
   *
   * @throws {Problem} checksum-mismatch (with `expected` and `actual`), volume-full, too-large
   */
  put(digest: Digest, bytes: AsyncIterable<Uint8Array>, size?: number, signal?: AbortSignal): Promise<BlobStat>;
  /** Opens a blob. The stream stays readable if the blob is deleted. @throws {Problem} unknown-blob if it does not exist */
  get(digest: Digest, range?: ByteRange, signal?: AbortSignal): Promise<Readable>;
  /** Returns null if the blob does not exist. */
  stat(digest: Digest, signal?: AbortSignal): Promise<BlobStat | null>;
  /** Lists the blobs in any order. A blob that is put or deleted during the listing may be missing. */
  list(signal?: AbortSignal): AsyncIterable<{ digest: Digest } & BlobStat>;
  /**
   * Deletes a blob, if it exists. May win against a concurrent `put` of the same digest: before an event refers to a blob,
   * its command pins the digest (collector.ts) and then checks with `stat` that the blob exists.
   */
  delete(digest: Digest, signal?: AbortSignal): Promise<void>;
}

// What only some stores can do is an interface of its own, asked for by the presence of its method.

/** A store whose blobs are files. */
export interface Located {
  pathOf(digest: Digest): string;
}

/** A store that makes short-lived addresses, with which anybody may read a blob without a credential. */
export interface Addressable {
  /** @param seconds how long the address is valid */
  addressOf(digest: Digest, seconds: number): Promise<string>;
}

/** A store in which interrupted uploads leave bytes that nobody can read. */
export interface Unfinished {
  /** Deletes what uploads left that began before `before`, in ms since 1970; returns how many. */
  sweepUploads(before: number, signal?: AbortSignal): Promise<number>;
}

/** A store that several logs could be pointed at by mistake. */
export interface Owned {
  /** Returns which log the store belongs to; null if none claimed it. */
  owner(): Promise<string | null>;
  /** Records that the store belongs to a log. */
  own(log: string): Promise<void>;
}
