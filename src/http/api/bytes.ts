import type { ByteRange } from '../../artifacts/store.ts';
import { type Digest, digestField } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import type { HttpContext } from '../server/context.ts';
import { notModified } from '../server/etag.ts';
import type { Reply } from '../server/route.ts';
import type { Services } from '../services.ts';
import { redirectReply, varies } from './redirect.ts';

type Stated = Pick<Services['artifacts']['reads'], 'stat'>;

/**
 * Answers a blob or one range of it, or where the store has it. A request for several ranges gets the whole blob (RFC 9110,
 * section 14.2).
 *
 * @param stated says whether the blob exists and how large it is
 * @param isStored whether the store has it: it has no address for what a version refers to elsewhere
 * @throws {Problem} unknown-blob, reference-changed, range-not-satisfiable
 */
export async function blobReply(
  c: HttpContext,
  { store, reads }: Services['artifacts'],
  digest: Digest,
  { stated = reads, isStored = true }: { stated?: Stated; isStored?: boolean } = {},
): Promise<Reply> {
  const stat = (await stated.stat(digest)) ?? (await fail(digest, stated === reads ? reads : null));
  const headers = { ...blobHeaders(digest), ...varies(store) };
  if (notModified(c, headers.ETag)) return { status: 304, headers };
  const range = rangeOf(c, headers.ETag, stat.size);
  const length = range ? range.end - range.start + 1 : stat.size;
  const status = range ? 206 : 200;
  const sized = { ...headers, 'Content-Length': String(length) };
  if (range) Object.assign(sized, { 'Content-Range': `bytes ${range.start}-${range.end}/${stat.size}` });
  if (c.req.method === 'HEAD' || length === 0) return { status, headers: sized, body: null };
  const redirect = isStored ? await redirectReply(c, store, digest) : null;
  if (redirect) return redirect;
  const bytes = await reads.get(digest, range ?? undefined);
  // Not `Readable.toWeb`: bytes that it buffered end the process if the caller leaves just when they are asked for.
  return { status, headers: sized, body: ReadableStream.from<Uint8Array>(bytes) };
}

/** Reading a blob that does not exist tells why. @throws {Problem} */
async function fail(digest: Digest, reads: Services['artifacts']['reads'] | null): Promise<never> {
  (await reads?.get(digest))?.destroy();
  throw new Problem('unknown-blob', `There is no blob ${digest}.`, { digest });
}

function blobHeaders(digest: Digest) {
  return {
    ETag: `"${digest}"`,
    // The digest of the whole blob, also for a range.
    'Repr-Digest': digestField(digest),
    'Accept-Ranges': 'bytes',
    'Content-Type': 'application/octet-stream',
    // Browsers must not show uploaded bytes as a page of the registry.
    'Content-Disposition': 'attachment',
    'Cache-Control': 'private, max-age=31536000, immutable',
  };
}

function rangeOf(c: HttpContext, etag: string, size: number): ByteRange | null {
  const condition = c.req.header('if-range');
  if (condition !== undefined && condition !== etag) return null;
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(c.req.header('range') ?? '') ?? [];
  if (first === undefined || (first === '' && last === '')) return null;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== '' && last !== '' && Number(first) > Number(last)) return null;
  if (start <= end) return { start, end };
  throw new Problem('range-not-satisfiable', `The range is outside the file, which has ${size} bytes.`, { size });
}
