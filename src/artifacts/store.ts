import type { Readable } from 'node:stream';
import type { Digest } from '../domain/digest.ts';

/** The bytes from `start` to `end`, both inclusive, counted from 0. */
export interface ByteRange {
  start: number;
  end: number;
}

export interface BlobStat {
  size: number;
  /** When the blob was last put, in ms since 1970. The collector keeps it for at least `GRACE_MS` from then on. */
  stored_at: number;
}

/** Stores blobs, the bytes of artifacts, by the SHA-256 of their content. A stored blob never changes. */
export interface ArtifactStore {
  /**
   * Stores the bytes durably before it resolves, and only if they have this digest and, if given, this size. After an error
   * nothing is stored. Reads `bytes` to the end in constant memory; a chunk is valid until the next one is requested. If the
   * blob exists, only renews its `stored_at`.
   *
   * @throws {Problem} checksum-mismatch (with `expected` and `actual`), volume-full
   */
  put(digest: Digest, bytes: AsyncIterable<Uint8Array>, size?: number): Promise<BlobStat>;
  /** Opens a blob. The stream stays readable if the blob is deleted. @throws {Problem} unknown-blob if it does not exist */
  get(digest: Digest, range?: ByteRange): Promise<Readable>;
  /** Returns null if the blob does not exist. */
  stat(digest: Digest): Promise<BlobStat | null>;
  /** Lists the blobs in any order. A blob that is put or deleted during the listing may be missing. */
  list(): AsyncIterable<{ digest: Digest } & BlobStat>;
  /**
   * Deletes a blob, if it exists. May win against a concurrent `put` of the same digest: before an event refers to a blob,
   * its command pins the digest (collector.ts) and then checks with `stat` that the blob exists.
   */
  delete(digest: Digest): Promise<void>;
}
