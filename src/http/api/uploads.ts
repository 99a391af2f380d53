import { z } from 'zod';
import { KEPT_MS } from '../../artifacts/unfinished-uploads.ts';
import { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import { checkType, uploadSending } from '../server/body.ts';
import type { HttpContext } from '../server/context.ts';
import { route } from '../server/route.ts';

// The names are those of draft-ietf-httpbis-resumable-upload-12. The digest names the upload resource, so a caller knows it
// without an interim response 104, which few HTTP clients show.

const PARTIAL = 'application/partial-upload';
const params = z.object({ digest: Digest });
const state = z.object({ digest: Digest, upload_offset: z.int(), upload_complete: z.boolean() });

const get = route({
  method: 'GET',
  path: '/api/uploads/:digest',
  permission: 'publish',
  summary:
    'How many bytes of a blob the caller has sent to this server, to go on from there; HEAD has the same headers',
  params,
  answer: { status: 200, schema: state },
  errors: [],
  async handle({ c, params: { digest }, actor, identity }, { artifacts, uploads, blobAccess }) {
    const here = await uploads.offset(actor, digest);
    const isKnown = blobAccess.foreign(identity, [digest]).size === 0;
    const blob = isKnown ? await artifacts.store.stat(digest) : null;
    const headers = { ...stateHeaders(blob?.size ?? here, blob !== null), 'Cache-Control': 'no-store' };
    if (c.req.method === 'HEAD') return { status: 204, headers };
    return { headers, json: { digest, upload_offset: blob?.size ?? here, upload_complete: blob !== null } };
  },
});

const patch = route({
  method: 'PATCH',
  path: '/api/uploads/:digest',
  permission: 'publish',
  summary: 'Send more bytes of a blob, from Upload-Offset on; with Upload-Complete: ?1 these are the last ones',
  event_type: 'blob.stored',
  params,
  rawBody: { [PARTIAL]: null },
  answer: { status: 201, schema: z.object({ digest: Digest, size: z.int() }) },
  errors: ['checksum-mismatch', 'mismatching-upload-offset', 'too-many-uploads', 'volume-full'],
  async handle({ c, params: { digest }, actor }, { artifacts, uploads, blobAccess }) {
    checkType(c, PARTIAL);
    const part = { offset: offsetOf(c), isLast: isLast(c), sending: uploadSending(c, digest) };
    const existing = await artifacts.store.stat(digest);
    const stored = await uploads.append(actor, digest, part);
    if (!stored) return { status: 204, headers: { 'Upload-Complete': '?0' }, log: { digest } };
    blobAccess.sent(actor, digest);
    const answer = { digest, size: stored.size };
    return { status: existing ? 200 : 201, headers: { 'Upload-Complete': '?1' }, json: answer, log: answer };
  },
});

function stateHeaders(offset: number, isComplete: boolean): Record<string, string> {
  return {
    'Upload-Offset': String(offset),
    'Upload-Complete': isComplete ? '?1' : '?0',
    'Upload-Limit': `max-age=${KEPT_MS / 1000}`,
  };
}

function offsetOf(c: HttpContext): number {
  const text = c.req.header('upload-offset') ?? '';
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new Problem('invalid-request', 'Send Upload-Offset: <the number of bytes that are here>, a whole number.');
}

function isLast(c: HttpContext): boolean {
  const text = c.req.header('upload-complete');
  if (text === '?1' || text === '?0') return text === '?1';
  throw new Problem('invalid-request', 'Send Upload-Complete: ?1 with the rest of the bytes, ?0 if more follow.');
}

export const uploadRoutes = [get, patch];
