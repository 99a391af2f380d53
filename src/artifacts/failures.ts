import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';

/** So many failures in a row mean that a store is away, and not that single blobs cannot be used. */
const MAX_IN_A_ROW = 10;

/** The failures of single blobs in work on many of them, which goes on with the others. */
export interface Failures {
  list: { digest: Digest; error: unknown }[];
  /** Notes that work on a blob succeeded. */
  passed(): void;
  /** Notes a failure. Returns whether it makes sense to go on. */
  add(digest: Digest, error: unknown): boolean;
}

export function createFailures(): Failures {
  const list: Failures['list'] = [];
  let inARow = 0;
  return {
    list,
    passed() {
      inARow = 0;
    },
    add(digest, error) {
      list.push({ digest, error });
      const isFull = error instanceof Problem && error.code === 'volume-full';
      return !isFull && ++inARow < MAX_IN_A_ROW;
    },
  };
}
