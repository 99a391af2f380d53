import type { FileHandle } from 'node:fs/promises';
import { extname } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import { openPlaces } from '../structures/places.ts';
import { batches } from './write.ts';
import type { Failure, Order, Report } from './writer-thread.ts';

/** Small enough that a read is answered between two batches, and large enough that messages cost little. */
const BATCH_BYTES = 256 * 1024;
/** Batches of all uploads that the thread has at a time. In addition, each upload fills one. */
const MAX_SENT = 4;

/** Hashes and writes large bodies on a thread of its own, so that the event loop is free to answer requests. */
export interface Writer {
  /**
   * Writes the bytes to the file and returns their digest. When it returns or throws, the thread no longer uses the file.
   *
   * @param wrote called with the size of each batch that is about to be written
   * @throws {Problem} internal if the thread ended; what `bytes` and `wrote` throw; errors of the operating system
   */
  write(file: FileHandle, bytes: AsyncIterable<Uint8Array>, wrote: (size: number) => Promise<void>): Promise<Digest>;
  /** Ends the thread. What is being written fails. */
  close(): Promise<void>;
}

/**
 * Opens a writer. Its thread starts with the first body, and again after a failure.
 *
 * @param file the program of the thread; tests run one that fails
 */
export function openWriter(file = threadFile()): Writer {
  let thread: Thread | null = null;
  let closed = false;

  function running(): Thread {
    if (closed) throw ended();
    thread ??= startThread(file, () => {
      thread = null;
    });
    return thread;
  }

  return {
    async write(file, bytes, wrote) {
      const { take, begin } = running();
      const upload = begin(file.fd);
      try {
        for await (const batch of batches(bytes, take)) {
          const size = batch.length;
          await upload.send(batch);
          await wrote(size);
          // libuv reads a socket up to 32 times in a row. After a pause, requests of other connections are read first.
          await setImmediate();
        }
      } catch (error) {
        await upload.end().catch(() => {});
        throw error;
      }
      return upload.end();
    },

    async close() {
      closed = true;
      await thread?.close();
    },
  };
}

interface Thread {
  /** Returns a batch to fill. */
  take(): Buffer<ArrayBuffer>;
  begin(fd: number): Upload;
  close(): Promise<unknown>;
}

interface Upload {
  /** Hands a batch over to the thread. Waits while the thread has enough of them. */
  send(batch: Buffer<ArrayBuffer>): Promise<void>;
  /** Returns after the thread's last use of the file. Only then can the file be closed, and its number become another's. */
  end(): Promise<Digest>;
}

interface State {
  failure: Error | null;
  digest: PromiseWithResolvers<Digest>;
}

function startThread(file: URL, onExit: () => void): Thread {
  const worker = new Worker(file);
  const states = new Map<number, State>();
  const free: ArrayBuffer[] = [];
  const places = openPlaces(MAX_SENT);
  let last = 0;
  let cause: unknown;
  worker.unref(); // Only an upload keeps the process running.
  worker.on('message', received);
  worker.on('error', (error) => {
    cause = error;
  });
  worker.on('exit', () => {
    onExit();
    for (const state of states.values()) {
      state.failure ??= ended(cause);
      state.digest.reject(state.failure);
    }
    // Resumes the first upload that waits for a place; its failure passes the place on.
    places.release();
  });

  return {
    take: () => Buffer.from(free.pop() ?? new ArrayBuffer(BATCH_BYTES)),
    begin,
    close: () => worker.terminate(),
  };

  function begin(fd: number): Upload {
    const id = ++last;
    const state: State = { failure: null, digest: Promise.withResolvers() };
    state.digest.promise.catch(() => {}); // `end` reports it.
    states.set(id, state);
    worker.ref();

    return {
      async send({ buffer: batch, length }) {
        await places.take();
        if (!state.failure) return order({ id, fd, batch, length }, [batch]);
        places.release();
        throw state.failure;
      },

      async end() {
        order({ id, end: true });
        const digest = await state.digest.promise.finally(() => forget(id));
        if (state.failure) throw state.failure;
        return digest;
      },
    };
  }

  function order(message: Order, transferred: ArrayBuffer[] = []): void {
    worker.postMessage(message, transferred);
  }

  function received(report: Report): void {
    const state = states.get(report.id)!;
    if ('digest' in report) {
      state.digest.resolve(`sha256:${report.digest}`);
      return;
    }
    if (report.failure) state.failure ??= systemError(report.failure);
    if (free.length < MAX_SENT) free.push(report.batch);
    places.release();
  }

  function forget(id: number): void {
    states.delete(id);
    if (states.size === 0) worker.unref();
  }
}

/** The sources run as .ts, the build as .js. */
function threadFile(): URL {
  return new URL(`./writer-thread${extname(import.meta.url)}`, import.meta.url);
}

function systemError({ message, code }: Failure): Error {
  return Object.assign(new Error(message), { code });
}

function ended(cause?: unknown): Problem {
  const detail = 'The thread that writes uploads has ended. Nothing was stored. Send the bytes again.';
  return new Problem('internal', detail, {}, cause);
}
