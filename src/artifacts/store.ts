import type { Readable } from 'node:stream';
import type { Digest } from '../domain/digest.ts';

/** Bytes `start` to `end`, both included, counted from 0. */
export interface ByteRange {
  start: number;
  end: number;
}

export interface BlobStat {
  size: number;
  /** When the blob was last put, in milliseconds since 1970: its 24 hours of grace count from here. */
  stored_at: number;
}

/**
 * Where the bytes of artefacts are kept, by content and written once. `put` reads the stream to its end, in constant
 * memory, and stores it only if its SHA-256 is `digest` and its size `size` where one is announced; putting what is
 * there already renews `stored_at`.
 *
 * @throws {Problem} `checksum-mismatch` (with `expected`, `actual`), `volume-full`, `unknown-blob` (get only)
 */
export interface ArtifactStore {
  put(digest: Digest, bytes: AsyncIterable<Uint8Array>, size?: number): Promise<BlobStat>;
  get(digest: Digest, range?: ByteRange): Promise<Readable>;
  stat(digest: Digest): Promise<BlobStat | null>;
  list(): AsyncIterable<{ digest: Digest } & BlobStat>;
  delete(digest: Digest): Promise<void>;
}
