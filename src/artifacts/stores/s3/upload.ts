import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import type { PartUpload } from '../bucket.ts';
import type { S3 } from './client.ts';
import { unlessMissing } from './errors.ts';

const COPIES_AT_ONCE = 8;

export interface S3Upload extends PartUpload {
  /** Makes parts of `partSize` bytes from an object of the storage. */
  copy(source: string, size: number, partSize: number, signal: AbortSignal): Promise<void>;
}

/** Begins an upload of several parts. With a checksum algorithm, the storage requires SHA-256 of every part. */
export async function beginUpload(
  s3: S3,
  object: Pick<CreateMultipartUploadCommandInput, 'Bucket' | 'Key' | 'StorageClass' | 'ChecksumAlgorithm'>,
  signal: AbortSignal,
): Promise<S3Upload> {
  const { UploadId } = await s3.ask((client) =>
    client.send(new CreateMultipartUploadCommand(object), s3.short(signal)),
  );
  const upload = { Bucket: object.Bucket, Key: object.Key, UploadId };
  const parts: CompletedPart[] = [];
  return {
    async send(PartNumber, bytes, sha256, abortSignal) {
      const ChecksumSHA256 = sha256.toString('base64');
      const input = { ...upload, PartNumber, Body: bytes, ChecksumSHA256 };
      const { ETag } = await s3.ask((client) => client.send(new UploadPartCommand(input), { abortSignal }));
      parts.push({ PartNumber, ETag, ChecksumSHA256 });
    },

    async copy(source, size, partSize, signal) {
      const ranges = rangesOf(size, partSize).entries();
      const stopped = new AbortController();
      const abortSignal = AbortSignal.any([signal, stopped.signal]);
      const copying = Array.from({ length: COPIES_AT_ONCE }, async () => {
        for (const [index, CopySourceRange] of ranges) {
          const input = { ...upload, CopySource: source, CopySourceRange, PartNumber: index + 1 };
          const { CopyPartResult } = await s3.ask((client) =>
            client.send(new UploadPartCopyCommand(input), { abortSignal }),
          );
          parts.push({ PartNumber: index + 1, ETag: CopyPartResult?.ETag });
        }
      });
      await Promise.all(copying).finally(() => stopped.abort());
    },

    async complete(abortSignal) {
      const Parts = parts.toSorted((a, b) => a.PartNumber! - b.PartNumber!);
      const input = { ...upload, MultipartUpload: { Parts } };
      // If an answer is lost, the upload no longer exists when the SDK asks again.
      await unlessMissing(s3.ask((client) => client.send(new CompleteMultipartUploadCommand(input), { abortSignal })));
    },

    async abort(signal) {
      await s3.ask((client) => client.send(new AbortMultipartUploadCommand(upload), s3.short(signal))).catch(() => {}); // swept later
    },
  };
}

function rangesOf(size: number, partSize: number): string[] {
  const starts = Array.from({ length: Math.ceil(size / partSize) }, (_, index) => index * partSize);
  return starts.map((start) => `bytes=${start}-${Math.min(start + partSize, size) - 1}`);
}
