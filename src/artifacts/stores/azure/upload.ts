import { randomUUID } from 'node:crypto';
import type { BlockBlobClient } from '@azure/storage-blob';
import type { PartUpload } from '../bucket.ts';
import type { Azure } from './client.ts';
import { isInvalidList, unlessMissing } from './errors.ts';

/**
 * Begins a blob of several blocks. It has no session in Azure: blocks wait, uncommitted, under the name of the blob, shared by
 * all uploads of that name. The ids are this upload's own, so that a commit never takes a block that somebody else is sending.
 */
export function beginUpload({ ask, send }: Azure, blob: BlockBlobClient): PartUpload {
  const upload = randomUUID();
  const sizes = new Map<number, number>();
  /** All ids of a blob must have the same length. */
  const idOf = (number: number) => Buffer.from(`${upload} ${String(number).padStart(6, '0')}`).toString('base64');

  return {
    async send(number, bytes, _, signal) {
      await send(signal, (abortSignal) => blob.stageBlock(idOf(number), bytes, bytes.length, { abortSignal }));
      sizes.set(number, bytes.length);
    },

    async complete(signal) {
      const ids = Array.from(sizes.keys())
        .toSorted((a, b) => a - b)
        .map(idOf);
      try {
        await send(signal, (abortSignal) => blob.commitBlockList(ids, { abortSignal }));
      } catch (error) {
        // The commit of another upload discards all blocks that it does not name, ours too. It has the same bytes, as the
        // name is their hash, and completed after we began, so the blob is new.
        if (!isInvalidList(error)) throw error;
        const size = Array.from(sizes.values()).reduce((sum, length) => sum + length, 0);
        const found = await unlessMissing(ask(signal, (abortSignal) => blob.getProperties({ abortSignal })));
        if (found?.contentLength !== size) throw error;
      }
    },

    // Azure deletes uncommitted blocks after a week. To discard them at once, somebody else's would have to go, too.
    abort: async () => {},
  };
}
