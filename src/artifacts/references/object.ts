import { Readable } from 'node:stream';
import { Problem } from '../../domain/errors.ts';
import type { Reference } from '../../domain/reference.ts';
import type { ByteRange } from '../store.ts';
import type { OpenObject } from '../stores/bucket.ts';
import { resumed } from '../stores/resumed.ts';
import type { SourceReader } from './reader.ts';
import type { Sources } from './sources.ts';

/** The longest time in ms without a byte of a source. */
const IDLE_MS = 30_000;

export type ExpectedObject = Pick<Reference, 'source' | 'size'> & {
  /** Absent while it is not known: the first answer then decides. */
  etag?: string | null;
};

/** The bytes of an object, and the ETag that all of them belong to. */
export interface SourceObject {
  etag: string | null;
  bytes: AsyncGenerator<Uint8Array>;
}

/**
 * Opens an object outside of the store, or a range of it. Every answer, also after a cut, is compared with what is expected
 * before any byte of it is passed on, so the bytes of two objects never mix.
 *
 * @throws {Problem} reference-not-allowed, reference-changed, store-unavailable; the last two also while it is read
 */
export async function openObject(
  sources: Pick<Sources, 'find'>,
  expected: ExpectedObject,
  range: ByteRange | null,
  signal: AbortSignal,
): Promise<SourceObject> {
  const { reader, key } = await sources.find(expected.source);
  const { checked, etag } = comparing(reader, expected);
  const bytes = await resumed(checked, key, range, IDLE_MS, signal);
  if (!bytes) throw changed(expected, 'is gone');
  return { etag: etag(), bytes };
}

/** Asks a source whether the object is as expected, without reading it. @throws {Problem} as `openObject` */
export async function checkObject(
  sources: Pick<Sources, 'find'>,
  expected: ExpectedObject,
  signal: AbortSignal,
): Promise<void> {
  const ended = new AbortController();
  try {
    const { bytes } = await openObject(sources, expected, null, AbortSignal.any([signal, ended.signal]));
    await bytes.return(undefined);
  } finally {
    ended.abort();
  }
}

function comparing(reader: SourceReader, { size, ...expected }: ExpectedObject) {
  let known = expected.etag;
  const checked: Pick<SourceReader, 'name' | 'read'> = {
    name: expected.source,
    async read(key, range, signal) {
      const object = await reader.read(key, range, signal);
      if (!object) return null;
      const etag = object.etag ?? null;
      known ??= etag;
      const wanted = range ? Math.min(range.end, size - 1) - range.start + 1 : size;
      if (etag === known && object.length === wanted) return object;
      discard(object);
      throw changed(expected, etag === known ? 'has another size' : 'was replaced');
    },
  };
  return { checked, etag: () => known ?? null };
}

/** Ends the connection. */
function discard({ bytes }: OpenObject): void {
  if (bytes instanceof Readable) bytes.destroy();
}

export function changed({ source }: Pick<Reference, 'source'>, what: string): Problem {
  const detail = `The object at ${source} ${what}. Put the old one back, or publish a version of the new one.`;
  return new Problem('reference-changed', detail, { source });
}
