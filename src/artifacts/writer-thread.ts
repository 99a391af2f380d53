/** The thread of writer.ts: hashes batches and writes them to their files, in the order in which they arrive. */
import { createHash, type Hash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';

/** Write a batch to the file `fd`, or end the upload. */
export type Order = { id: number; fd: number; batch: ArrayBuffer; length: number } | { id: number; end: true };

/** A batch that can be filled again, with the failure of its write; or the digest in hex of all bytes of an upload. */
export type Report = { id: number; batch: ArrayBuffer; failure?: Failure } | { id: number; digest: string };

/** What a structured clone keeps of an error does not include its code. */
export interface Failure {
  message: string;
  code: string | undefined;
}

/** A piece is written while it is still in the processor's cache from being hashed. */
const PIECE_BYTES = 64 * 1024;
/** Under contention, the thread that answers requests goes first. Linux sets the priority of the calling thread only. */
const PRIORITY = 10;

const hashes = new Map<number, Hash>();

lowerPriority();
parentPort!.on('message', (order: Order) => {
  const hash = hashes.get(order.id) ?? createHash('sha256');
  hashes.set(order.id, hash);
  if ('batch' in order) write(hash, order);
  else end(hash, order.id);
});

function lowerPriority(): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(PRIORITY);
  } catch {
    // Some sandboxes forbid it, for example systemd's SystemCallFilter=~@resources. The thread then works as well.
  }
}

function end(hash: Hash, id: number): void {
  hashes.delete(id);
  report({ id, digest: hash.digest('hex') });
}

function write(hash: Hash, { id, fd, batch, length }: Extract<Order, { batch: unknown }>): void {
  try {
    for (let start = 0; start < length; start += PIECE_BYTES) {
      const piece = new Uint8Array(batch, start, Math.min(PIECE_BYTES, length - start));
      hash.update(piece);
      writeAll(fd, piece);
    }
    report({ id, batch }, [batch]);
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    report({ id, batch, failure: { message, code } }, [batch]);
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}

function report(message: Report, transferred: ArrayBuffer[] = []): void {
  parentPort!.postMessage(message, transferred);
}
