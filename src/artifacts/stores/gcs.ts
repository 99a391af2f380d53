import { createHash, randomUUID } from 'node:crypto';
import { nameOf } from '../address.ts';
import type { ByteRange } from '../store.ts';
import type { Bucket, ObjectStat, OpenObject } from './bucket.ts';
import { createGcs, type GcsAddress, type GcsRequest } from './gcs/client.ts';
import { explained, isMissing } from './gcs/errors.ts';
import { beginUpload } from './gcs/upload.ts';

const TIB = 1024 ** 4;
/** The parts of a resumable upload are not counted. They are sent one after the other. */
const LIMITS = { size: 5 * TIB, parts: Number.POSITIVE_INFINITY, parallel: 1 };

/**
 * Opens a bucket of Google Cloud Storage, with the Application Default Credentials, or without any if the endpoint is an
 * `http:` one. It has no `sweepUploads`, because a resumable upload ends after a week.
 */
export function createGcsBucket(address: GcsAddress): Bucket {
  const { bucket, prefix } = address;
  const gcs = createGcs(address);
  const name = nameOf(address);
  const objects = `/storage/v1/b/${encodeURIComponent(bucket)}/o`;
  const at = (key: string) => `${objects}/${encodeURIComponent(prefix + key)}`;
  const uploads = (type: string) => `/upload${objects}?uploadType=${type}`;
  let bucketExists = false;

  return {
    name,
    limits: LIMITS,

    async put(key, bytes, _, signal) {
      const { headers, body } = related(prefix + key, bytes);
      await explaining(gcs.send(uploads('multipart'), { method: 'POST', headers, body }, signal));
    },

    begin(key, signal) {
      return explaining(beginUpload(gcs, `${uploads('resumable')}&name=${encodeURIComponent(prefix + key)}`, signal));
    },

    async read(key, range, signal) {
      const headers: Record<string, string> = { 'accept-encoding': 'identity' };
      if (range) headers.range = `bytes=${range.start}-${range.end}`;
      return ofObject(`${at(key)}?alt=media`, { headers }, signal, (answer) => opened(answer, range));
    },

    stat: (key, signal) =>
      ofObject(`${at(key)}?fields=size,updated`, {}, signal, async (answer) => statOf((await answer.json()) as Stated)),

    async renew(key, signal) {
      // A change of the metadata sets `updated`. Only a value that differs is a change.
      const body = JSON.stringify({ metadata: { 'signalbox-renewed': randomUUID() } });
      const request = { method: 'PATCH', headers: { 'content-type': 'application/json' }, body };
      await ofObject(at(key), request, signal, (answer) => answer.arrayBuffer());
    },

    async *list(begin, signal) {
      let pageToken: string | undefined;
      do {
        const page = await pageOf({ prefix: prefix + begin, pageToken }, signal);
        for (const item of page.items ?? []) yield { key: item.name.slice(prefix.length), ...statOf(item) };
        pageToken = page.nextPageToken;
      } while (pageToken);
    },

    async delete(key, signal) {
      await ofObject(at(key), { method: 'DELETE' }, signal, (answer) => answer.arrayBuffer());
    },

    /** Fails if the credentials have neither a private key nor the right to sign with one (IAM's signBlob). */
    addressOf: (key, seconds) => gcs.addressOf(prefix + key, seconds),
  };

  /** Makes a request to an object; null if it does not exist. */
  async function ofObject<T>(
    path: string,
    request: GcsRequest,
    signal: AbortSignal,
    read: (answer: Response) => Promise<T>,
  ): Promise<T | null> {
    try {
      const answer = await gcs.ask(path, request, signal, read);
      bucketExists = true;
      return answer;
    } catch (error) {
      if (!isMissing(error)) throw explained(name, error);
      // A missing bucket has the same status. To list needs no more rights than the store has.
      if (!bucketExists) await pageOf({ prefix, maxResults: '1' }, signal);
      return null;
    }
  }

  async function pageOf(query: Record<string, string | undefined>, signal: AbortSignal): Promise<Page> {
    const parameters = new URLSearchParams({ fields: 'items(name,size,updated),nextPageToken' });
    for (const [field, value] of Object.entries(query)) if (value !== undefined) parameters.set(field, value);
    const page = await explaining(gcs.ask(`${objects}?${parameters}`, {}, signal, (answer) => answer.json()));
    bucketExists = true;
    return page as Page;
  }

  async function explaining<T>(answer: Promise<T>): Promise<T> {
    return answer.catch((error: unknown) => {
      throw explained(name, error);
    });
  }
}

interface Stated {
  size?: string;
  updated?: string;
}

interface Page {
  items?: ({ name: string } & Stated)[];
  nextPageToken?: string;
}

/** A body of metadata and bytes. The storage verifies their MD5; it cannot verify a SHA-256. */
function related(name: string, bytes: Buffer): { headers: Record<string, string>; body: Buffer } {
  const boundary = randomUUID();
  const metadata = { name, md5Hash: createHash('md5').update(bytes).digest('base64') };
  const body = Buffer.concat([
    Buffer.from(`--${boundary}\r\ncontent-type: application/json\r\n\r\n${JSON.stringify(metadata)}\r\n`),
    Buffer.from(`--${boundary}\r\ncontent-type: application/octet-stream\r\n\r\n`),
    bytes,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  return { headers: { 'content-type': `multipart/related; boundary=${boundary}` }, body };
}

async function opened({ headers, body }: Response, range: ByteRange | null): Promise<OpenObject> {
  const length = headers.get('content-length');
  if (!body || length === null) throw new Error('the storage states no length');
  if (range && !headers.get('content-range')?.startsWith(`bytes ${range.start}-`)) {
    await body.cancel();
    throw new Error('the storage ignores ranges');
  }
  // The ETag also changes with the metadata, the generation only with the bytes.
  const etag = headers.get('x-goog-generation') ?? headers.get('etag') ?? undefined;
  return { length: Number(length), bytes: body, etag };
}

/** `updated` is the time of the last change of the object or its metadata, `timeCreated` that of its bytes only. */
function statOf({ size, updated }: Stated): ObjectStat {
  const stat = { size: Number(size), modified: Date.parse(updated ?? '') };
  if (Number.isNaN(stat.size) || Number.isNaN(stat.modified)) throw new Error('the storage states no size or time');
  return stat;
}
