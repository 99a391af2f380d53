import { createHash } from 'node:crypto';
import type { BlobDownloadResponseParsed } from '@azure/storage-blob';
import { nameOf } from '../address.ts';
import type { ByteRange } from '../store.ts';
import { createSigner } from './azure/address.ts';
import { type AzureAddress, createAzure } from './azure/client.ts';
import { unlessMissing } from './azure/errors.ts';
import { beginUpload } from './azure/upload.ts';
import type { Bucket, ObjectStat, OpenObject } from './bucket.ts';

const TIB = 1024 ** 4;
/** Larger blobs would need blocks of more than 94 MiB, of which five are in memory for each upload. */
const LIMITS = { size: 4 * TIB, parts: 50_000, parallel: 4 };

/**
 * Opens a container of Azure Blob Storage. It has no `sweepUploads`, because Azure deletes uncommitted blocks after a week.
 *
 * @throws {Error} if neither the address nor the environment names a storage account
 */
export function createAzureBucket(address: AzureAddress): Bucket {
  const azure = createAzure(address);
  const { ask, send, container } = azure;
  const { prefix } = address;
  const blobAt = (key: string) => container.getBlockBlobClient(prefix + key);
  const signed = createSigner(azure);

  return {
    name: nameOf(address),
    limits: LIMITS,

    async put(key, bytes, _, signal) {
      // Azure cannot verify a SHA-256. Blocks are sent without an MD5, which would take two seconds of a core for each GiB.
      const transactionalContentMD5 = createHash('md5').update(bytes).digest();
      await send(signal, (abortSignal) =>
        blobAt(key).upload(bytes, bytes.length, { abortSignal, transactionalContentMD5 }),
      );
    },

    begin: async (key) => beginUpload(azure, blobAt(key)),

    async read(key, range, signal) {
      const count = range ? range.end - range.start + 1 : undefined;
      const request = (abortSignal: AbortSignal) =>
        // resumed.ts goes on after a cut. The SDK would do so only until the blob is renewed.
        blobAt(key).download(range?.start ?? 0, count, { abortSignal, maxRetryRequests: 0 });
      const found = await unlessMissing(ask(signal, request));
      return found && opened(found, range);
    },

    async stat(key, signal) {
      const found = await unlessMissing(ask(signal, (abortSignal) => blobAt(key).getProperties({ abortSignal })));
      return found && statOf(found.contentLength, found.lastModified);
    },

    async renew(key, signal) {
      await unlessMissing(ask(signal, (abortSignal) => blobAt(key).setMetadata({}, { abortSignal })));
    },

    async *list(begin, signal) {
      let continuationToken: string | undefined;
      do {
        const page = await ask(signal, async (abortSignal) => {
          const pages = container.listBlobsFlat({ prefix: prefix + begin, abortSignal }).byPage({ continuationToken });
          return (await pages.next()).value;
        });
        for (const { name, properties } of page.segment.blobItems) {
          yield { key: name.slice(prefix.length), ...statOf(properties.contentLength, properties.lastModified) };
        }
        continuationToken = page.continuationToken;
      } while (continuationToken);
    },

    async delete(key, signal) {
      await unlessMissing(ask(signal, (abortSignal) => blobAt(key).delete({ abortSignal })));
    },

    addressOf: (key, seconds) => signed(blobAt(key), seconds),
  };
}

function opened(found: BlobDownloadResponseParsed, range: ByteRange | null): OpenObject {
  const { readableStreamBody: bytes, contentLength, contentRange, etag } = found;
  if (!bytes || contentLength === undefined) throw new Error('the storage states no length');
  // If nobody reads the bytes when the connection ends, nobody is told.
  bytes.on('error', () => {});
  if (range && !contentRange?.startsWith(`bytes ${range.start}-`)) {
    bytes.resume();
    throw new Error('the storage ignores ranges');
  }
  return { length: contentLength, bytes: bytes as AsyncIterable<Uint8Array>, etag };
}

function statOf(size: number | undefined, modified: Date | undefined): ObjectStat {
  if (size === undefined || !modified) throw new Error('the storage states no size or time');
  return { size, modified: modified.getTime() };
}
