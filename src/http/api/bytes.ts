import type { ByteRange } from '../../artifacts/store.ts';
import { type Digest, digestField } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import type { HttpContext } from '../server/context.ts';
import { notModified } from '../server/etag.ts';
import type { Reply } from '../server/route.ts';
import type { Services } from '../services.ts';
import { redirectReply, varies } from './redirect.ts';

/**
 * Answers a blob or one range of it, or where the store has it. A request for several ranges gets the whole blob (RFC 9110,
 * section 14.2).
 *
 * @throws {Problem} unknown-blob, range-not-satisfiable
 */
export async function blobReply(
  c: HttpContext,
  { store, reads }: Services['artifacts'],
  digest: Digest,
): Promise<Reply> {
  // HEAD is the question before an upload, so a copy is no answer to it.
  const stat = await (c.req.method === 'HEAD' ? store : reads).stat(digest);
  if (!stat) throw new Problem('unknown-blob', `There is no blob ${digest}.`, { digest });
  const headers = { ...blobHeaders(digest), ...varies(store) };
  if (notModified(c, headers.ETag)) return { status: 304, headers };
  const range = rangeOf(c, headers.ETag, stat.size);
  const length = range ? range.end - range.start + 1 : stat.size;
  const status = range ? 206 : 200;
  const sized = { ...headers, 'Content-Length': String(length) };
  if (range) Object.assign(sized, { 'Content-Range': `bytes ${range.start}-${range.end}/${stat.size}` });
  if (c.req.method === 'HEAD' || length === 0) return { status, headers: sized, body: null };
  const redirect = await redirectReply(c, store, digest);
  if (redirect) return redirect;
  const bytes = await reads.get(digest, range ?? undefined);
  // Not `Readable.toWeb`: bytes that it buffered end the process if the caller leaves just when they are asked for.
  return { status, headers: sized, body: ReadableStream.from<Uint8Array>(bytes) };
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
