import type { PartUpload } from '../bucket.ts';
import { type Gcs, INCOMPLETE } from './client.ts';

/** All requests of a session but the last have a multiple of this. */
const UNIT = 256 * 1024;

/**
 * Begins a resumable upload. Its parts are sent one after the other. The end of the last one is kept until the upload is
 * completed, because the request that sends the last byte makes the object visible.
 */
export async function beginUpload(gcs: Gcs, path: string, signal: AbortSignal): Promise<PartUpload> {
  const session = await gcs.ask(path, { method: 'POST' }, signal, async (answer) => {
    await answer.arrayBuffer();
    return answer.headers.get('location');
  });
  if (!session) throw new Error('the storage gives no address for an upload');
  let stored = 0;
  let kept = Buffer.alloc(0);

  return {
    async send(_, bytes, __, signal) {
      if (kept.length > 0) throw new Error('a part came after the last one');
      const whole = bytes.length - (bytes.length % UNIT);
      await sendAll(bytes.subarray(0, whole), null, signal);
      kept = Buffer.from(bytes.subarray(whole));
    },

    async complete(signal) {
      const total = stored + kept.length;
      if (kept.length > 0) await sendAll(kept, total, signal);
      else await sendOnce(kept, total, signal);
    },

    async abort(signal) {
      // The answer is 499. A session that cannot be deleted now ends after a week.
      await gcs.send(session, { method: 'DELETE' }, signal).catch(() => {});
    },
  };

  /** The storage may store only the beginning of a request. */
  async function sendAll(bytes: Buffer, total: number | null, signal: AbortSignal): Promise<void> {
    const end = stored + bytes.length;
    while (stored < end) {
      const before = stored;
      stored = await sendOnce(bytes.subarray(bytes.length - (end - stored)), total, signal);
      if (stored <= before || stored > end) throw new Error(`the storage says that it has ${stored} of ${end} bytes`);
    }
  }

  /**
   * Returns how many bytes of the object are stored. May send the same bytes again, as Google's own client for Go does,
   * because bytes at an offset that is stored are ignored.
   */
  async function sendOnce(bytes: Buffer, total: number | null, signal: AbortSignal): Promise<number> {
    const range = bytes.length > 0 ? `${stored}-${stored + bytes.length - 1}` : '*';
    const headers = { 'content-range': `bytes ${range}/${total ?? '*'}` };
    const answer = await gcs.send(session!, { method: 'PUT', headers, body: bytes }, signal);
    if (answer.status !== INCOMPLETE) {
      if (total === null) throw new Error('the storage ended an upload that has more bytes');
      return total;
    }
    if (bytes.length === 0) throw new Error('the storage does not complete the upload');
    return Number(/^bytes=0-(\d+)$/.exec(answer.headers.get('range') ?? '')?.[1] ?? -1) + 1;
  }
}
