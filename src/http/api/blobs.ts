import { z } from 'zod';
import { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import { uploadSending } from '../server/body.ts';
import { route } from '../server/route.ts';
import { blobReply } from './bytes.ts';

const params = z.object({ digest: Digest });

const get = route({
  method: 'GET',
  path: '/api/blobs/:digest',
  permission: 'read',
  summary: 'The bytes of a blob; HEAD checks whether it exists',
  params,
  answer: { status: 200, type: 'application/octet-stream' },
  redirects: true,
  errors: ['unknown-blob', 'reference-changed', 'range-not-satisfiable'],
  handle(request, { artifacts, blobAccess }) {
    const { digest } = request.params;
    if (blobAccess.foreign(request.identity, [digest]).size > 0)
      throw new Problem('unknown-blob', `There is no blob ${digest}.`, { digest });
    // HEAD is the question before an upload, so a copy is no answer to it.
    const stated = request.c.req.method === 'HEAD' ? artifacts.store : artifacts.reads;
    return blobReply(request.c, artifacts, digest, { stated });
  },
});

const put = route({
  method: 'PUT',
  path: '/api/blobs/:digest',
  permission: 'publish',
  summary: 'Store a blob; without a version that refers to it, it is kept for 24 hours',
  event_type: 'blob.stored',
  params,
  rawBody: { 'application/octet-stream': null },
  answer: { status: 201, schema: z.object({ digest: Digest, size: z.int() }) },
  errors: ['checksum-mismatch', 'volume-full'],
  async handle({ c, params: { digest }, actor }, { artifacts, uploads, blobAccess }) {
    const existing = await artifacts.store.stat(digest);
    const { size } = await uploads.put(actor, digest, uploadSending(c, digest));
    blobAccess.sent(actor, digest);
    return { status: existing ? 200 : 201, json: { digest, size }, log: { digest, size } };
  },
});

export const blobRoutes = [get, put];
