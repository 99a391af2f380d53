import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadBucketCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { nameOf } from '../address.ts';
import type { ByteRange } from '../store.ts';
import type { Bucket, ObjectStat, OpenObject } from './bucket.ts';
import { createS3, type S3, type S3Address, type S3Timeouts } from './s3/client.ts';
import { noSuchBucket, unlessMissing } from './s3/errors.ts';
import { beginUpload } from './s3/upload.ts';

const GIB = 1024 ** 3;
/** Larger objects would need parts of more than 120 MiB, of which five are in memory for each upload. */
const LIMITS = { size: 1024 * GIB, parts: 10_000, parallel: 4 };
const TIMEOUTS: S3Timeouts = { answer: 10_000, idle: 30_000 };

/**
 * Opens a bucket of S3 or of a compatible storage, with the credentials of the SDK's default chain.
 *
 * @param copyBytes the largest object that one request can copy. Larger ones are copied in parts of a fifth of it.
 */
export function createS3Bucket(address: S3Address, timeouts = TIMEOUTS, copyBytes = 5 * GIB): Bucket {
  const s3 = createS3(address, timeouts);
  const { bucket: Bucket, prefix } = address;
  const at = (key: string) => ({ Bucket, Key: prefix + key });
  let bucketExists = false;

  return {
    name: nameOf(address),
    limits: LIMITS,

    async put(key, bytes, sha256, abortSignal) {
      const input = { ...at(key), Body: bytes, ChecksumSHA256: sha256.toString('base64') };
      await s3.ask((client) => client.send(new PutObjectCommand(input), { abortSignal }));
    },

    begin: (key, signal) => beginUpload(s3, { ...at(key), ChecksumAlgorithm: 'SHA256' }, signal),

    async read(key, range, signal) {
      const input = { ...at(key), Range: range ? `bytes=${range.start}-${range.end}` : undefined };
      const found = await unlessMissing(s3.ask((client) => client.send(new GetObjectCommand(input), s3.short(signal))));
      return found && opened(found, range);
    },

    async stat(key, signal) {
      const found = await head(key, signal);
      return found && statOf(found.ContentLength, found.LastModified);
    },

    async renew(key, signal) {
      const found = await head(key, signal);
      if (!found) return;
      const { StorageClass, ContentLength: size = 0 } = found;
      // Without its class, the object would move to the standard one.
      const object = { ...at(key), StorageClass };
      const CopySource = [Bucket, ...`${prefix}${key}`.split('/')].map(encodeURIComponent).join('/');
      if (size > copyBytes) return renewInParts(object, CopySource, size, signal);
      const input = { ...object, CopySource, MetadataDirective: 'REPLACE' as const };
      await unlessMissing(s3.ask((client) => client.send(new CopyObjectCommand(input), { abortSignal: signal })));
    },

    async *list(begin, signal) {
      let ContinuationToken: string | undefined;
      do {
        const input = { Bucket, Prefix: prefix + begin, ContinuationToken };
        const page = await s3.ask((client) => client.send(new ListObjectsV2Command(input), s3.short(signal)));
        for (const { Key = '', Size, LastModified } of page.Contents ?? []) {
          yield { key: Key.slice(prefix.length), ...statOf(Size, LastModified) };
        }
        ContinuationToken = page.NextContinuationToken;
      } while (ContinuationToken);
    },

    async delete(key, signal) {
      await unlessMissing(s3.ask((client) => client.send(new DeleteObjectCommand(at(key)), s3.short(signal))));
    },

    async sweepUploads(before, signal) {
      let swept = 0;
      for (const { Key, UploadId, Initiated } of await uploadsIn(s3, Bucket, prefix, signal)) {
        if (!Initiated || Initiated.getTime() >= before) continue;
        const command = new AbortMultipartUploadCommand({ Bucket, Key, UploadId });
        if (await unlessMissing(s3.ask((client) => client.send(command, s3.short(signal))))) swept++;
      }
      return swept;
    },

    addressOf: (key, seconds) =>
      s3.ask((client) => getSignedUrl(client, new GetObjectCommand(at(key)), { expiresIn: seconds })),

    close: async () => s3.close(),
  };

  async function head(key: string, signal: AbortSignal): Promise<HeadObjectCommandOutput | null> {
    const found = await unlessMissing(
      s3.ask((client) => client.send(new HeadObjectCommand(at(key)), s3.short(signal))),
    );
    // To HEAD, a missing bucket looks like a missing object.
    bucketExists ||= found !== null || (await hasBucket(signal));
    if (!bucketExists) throw noSuchBucket(nameOf(address));
    return found;
  }

  async function hasBucket(signal: AbortSignal): Promise<boolean> {
    const command = new HeadBucketCommand({ Bucket });
    return (await unlessMissing(s3.ask((client) => client.send(command, s3.short(signal))))) !== null;
  }

  async function renewInParts(object: ReturnType<typeof at>, source: string, size: number, signal: AbortSignal) {
    const upload = await beginUpload(s3, object, signal);
    try {
      await upload.copy(source, size, Math.ceil(copyBytes / 5), signal);
      await upload.complete(signal);
    } catch (error) {
      await upload.abort(signal);
      throw error;
    }
  }
}

async function uploadsIn(s3: S3, Bucket: string, Prefix: string, signal: AbortSignal) {
  const found = [];
  let input: ListMultipartUploadsCommand['input'] | null = { Bucket, Prefix, MaxUploads: 1000 };
  while (input) {
    const command: ListMultipartUploadsCommand = new ListMultipartUploadsCommand(input);
    const page = await s3.ask((client) => client.send(command, s3.short(signal)));
    found.push(...(page.Uploads ?? []));
    const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
    input = IsTruncated ? { Bucket, Prefix, MaxUploads: 1000, KeyMarker, UploadIdMarker } : null;
  }
  return found;
}

function opened(found: GetObjectCommandOutput, range: ByteRange | null): OpenObject {
  const { Body, ContentLength, ContentRange, ETag: etag } = found;
  if (!(Body instanceof Readable) || ContentLength === undefined) throw new Error('the storage states no length');
  if (range && !ContentRange?.startsWith(`bytes ${range.start}-`)) {
    Body.destroy();
    throw new Error('the storage ignores ranges');
  }
  return { length: ContentLength, bytes: Body, etag };
}

function statOf(size: number | undefined, modified: Date | undefined): ObjectStat {
  if (size === undefined || !modified) throw new Error('the storage states no size or time');
  return { size, modified: modified.getTime() };
}
