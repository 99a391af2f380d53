import { setTimeout as sleep } from 'node:timers/promises';
import type { ByteRange } from '../store.ts';
import type { Bucket, OpenObject } from './bucket.ts';

const ATTEMPTS = 4;
const PAUSE_MS = 200;

/**
 * Opens an object, or a range of it; null if it does not exist. If the connection is cut or nothing arrives for `idleMs`,
 * the bytes go on where they ended: no SDK but Azure's does that, and an object never changes.
 */
export async function resumed(
  bucket: Pick<Bucket, 'name' | 'read'>,
  key: string,
  range: ByteRange | null,
  idleMs: number,
  signal: AbortSignal,
): Promise<AsyncGenerator<Uint8Array> | null> {
  const first = await open(range);
  return first && bytesFrom(first);

  async function* bytesFrom(opened: Opened): AsyncGenerator<Uint8Array> {
    const start = range?.start ?? 0;
    const end = start + opened.object.length;
    let next = start;
    let failures = 0;
    let current: Opened | null = opened;
    while (next < end) {
      try {
        current ??= await open({ start: next, end: end - 1 });
        if (!current) throw new Error('the object was deleted while it was read');
        for await (const chunk of current.object.bytes) {
          const wanted = chunk.subarray(0, end - next);
          next += wanted.length;
          failures = 0;
          current.waits(false);
          yield wanted;
          current.waits(true);
        }
        if (next < end) throw new Error(`the connection ended after ${next - start} of ${end - start} bytes`);
      } catch (error) {
        signal.throwIfAborted();
        if (++failures === ATTEMPTS) throw error;
        await sleep(PAUSE_MS * 2 ** failures, null, { signal });
      } finally {
        current?.stop();
        current = null;
      }
    }
    current?.stop();
  }

  async function open(wanted: ByteRange | null): Promise<Opened | null> {
    const stopped = new AbortController();
    let waiting = true;
    const idle = setTimeout(() => {
      if (waiting) stopped.abort(new Error(`no bytes arrived for ${idleMs} ms`));
    }, idleMs);
    const stop = () => {
      clearTimeout(idle);
      stopped.abort();
    };
    const waits = (isWaiting: boolean) => {
      waiting = isWaiting;
      idle.refresh();
    };
    try {
      const object = await bucket.read(key, wanted, AbortSignal.any([signal, stopped.signal]));
      if (object) return { object, waits, stop };
      stop();
      return null;
    } catch (error) {
      stop();
      throw error;
    }
  }
}

interface Opened {
  object: OpenObject;
  /** Says whether bytes are awaited now. The time that the consumer takes does not count. */
  waits(isWaiting: boolean): void;
  /** Ends the connection. */
  stop(): void;
}
