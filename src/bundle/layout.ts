import type { Artifact } from '../domain/manifest.ts';

/** A file in a bundle, which is a tar archive of the statement and then its blobs in the manifest's order. */
export interface Entry {
  name: string;
  size: number;
}

const BLOCK_BYTES = 512;
const END_BYTES = 2 * BLOCK_BYTES;
/** The limit of eleven octal digits. The size of a larger file is in a pax record before it. */
const MAX_OCTAL = 0o77777777777;

export function statementEntry(size: number): Entry {
  return { name: 'bundle.jws', size };
}

export function blobEntry({ digest, size }: Artifact): Entry {
  return { name: `blobs/sha256/${digest.slice('sha256:'.length)}`, size };
}

export function needsPax({ size }: Entry): boolean {
  return size > MAX_OCTAL;
}

/** Returns the exact size in bytes of an archive of these files. */
export function archiveBytes(entries: readonly Entry[]): number {
  const pax = entries.filter(needsPax).length * 2 * BLOCK_BYTES;
  const files = entries.map(({ size }) => BLOCK_BYTES + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES);
  return files.reduce((sum, bytes) => sum + bytes, pax + END_BYTES);
}
