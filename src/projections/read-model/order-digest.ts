import { createSHA256 } from 'hash-wasm';

const MAX_PENDING = 16 * 1024;
/** One for all: each digest has its own state. */
const hasher = await createSHA256();

/**
 * The SHA-256 over `<revision> <model> <hash>\n` of every message, in the order of the log: a checkpoint states it.
 * `node:crypto` cannot save the state of a hash, so that each start would have to read the whole log again.
 */
export class OrderDigest {
  #state = hasher.init().save();
  /** Lines not hashed yet: a call for each line costs more than the hash. */
  #pending = '';

  add(revision: number, model: string, hash: string): void {
    this.#pending += `${revision} ${model} ${hash}\n`;
    if (this.#pending.length > MAX_PENDING) this.save();
  }

  /** Returns the digest of everything added so far, in hexadecimal. */
  hex(): string {
    return hasher.load(this.save()).digest('hex');
  }

  /** Returns the state, for `load`. */
  save(): Uint8Array {
    if (this.#pending !== '') this.#state = hasher.load(this.#state).update(this.#pending).save();
    this.#pending = '';
    return this.#state;
  }

  /** @throws {Error} if the state was saved by another build of the library */
  load(state: Uint8Array): void {
    hasher.load(state);
    this.#state = state;
    this.#pending = '';
  }
}
