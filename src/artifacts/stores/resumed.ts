import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '../../domain/errors.ts';
import { unavailable } from '../failure.ts';
import type { ByteRange } from '../store.ts';
import type { Bucket, OpenObject } from './bucket.ts';

const ATTEMPTS = 4;
const PAUSE_MS = 200;

/**
 * Opens an object, or a range of it; null if it does not exist. If the connection is cut or nothing arrives for `idleMs`,
 * the bytes go on where they ended: no SDK but Azure's does that, and an object never changes.
 *
 * @throws {Problem} store-unavailable, at once or while the bytes are read
 */
export async function resumed(
  bucket: Pick<Bucket, 'name' | 'read'>,
  key: string,
  range: ByteRange | null,
  idleMs: number,
  signal: AbortSignal,
): Promise<AsyncGenerator<Uint8Array> | null> {
  const first = await open(range).catch(fail);
  return first && bytesFrom(first);

  async function* bytesFrom(opened: Opened): AsyncGenerator<Uint8Array> {
    const start = range?.start ?? 0;
    const end = start + opened.length;
    let next = start;
    let failures = 0;
    let current: Opened | null = opened;
    try {
      while (next < end) {
        try {
          current ??= await open({ start: next, end: end - 1 });
          if (!current) throw new Problem('store-unavailable', `${bucket.name} lost ${key} while it was read.`);
          for await (const chunk of current.bytes) {
            const wanted = chunk.subarray(0, end - next);
            next += wanted.length;
            failures = 0;
            current.idle.pause();
            yield wanted;
            current.idle.restart();
          }
          if (next < end) throw new Error(`the connection ended after ${next - start} of ${end - start} bytes`);
        } catch (error) {
          const failure = current?.idle.expired() ?? error;
          if (failure instanceof Problem || ++failures === ATTEMPTS) fail(failure);
          current?.idle.stop();
          current = null;
          await sleep(PAUSE_MS * 2 ** (failures - 1), null, { signal }).catch(fail);
        }
      }
    } finally {
      current?.idle.stop();
    }
  }

  async function open(wanted: ByteRange | null): Promise<Opened | null> {
    const idle = idleLimit(idleMs);
    try {
      const object = await bucket.read(key, wanted, AbortSignal.any([signal, idle.signal]));
      if (object) return { ...object, idle };
      idle.stop();
      return null;
    } catch (error) {
      const failure = idle.expired() ?? error;
      idle.stop();
      throw failure;
    }
  }

  function fail(error: unknown): never {
    signal.throwIfAborted();
    throw unavailable(bucket.name, error);
  }
}

interface Opened extends OpenObject {
  idle: ReturnType<typeof idleLimit>;
}

/** Aborts its signal if nothing arrives for `ms`. The time that the consumer takes does not count. */
function idleLimit(ms: number) {
  const controller = new AbortController();
  let isPaused = false;
  let expired: Error | null = null;
  const timer = setTimeout(() => {
    if (isPaused) return;
    expired = new Error(`no bytes arrived for ${ms} ms`);
    controller.abort(expired);
  }, ms).unref(); // A generator that is dropped before its first byte is asked for cannot clear it.
  return {
    signal: controller.signal,
    expired: () => expired,
    pause() {
      isPaused = true;
    },
    restart() {
      isPaused = false;
      timer.refresh();
    },
    /** Ends the connection. */
    stop() {
      clearTimeout(timer);
      controller.abort();
    },
  };
}
