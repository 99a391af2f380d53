import type { Hash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { sha256Hex } from '../domain/digest.ts';

/** The last message of a model: where it is, and the hash of its body. */
export interface Head {
  revision: number;
  hash: string;
}

/** Where a log stands: enough to tell whether another one, or a later one, contains it. */
export interface LogState {
  generation: number;
  /** Hash of the body at revision 1; null while there is none. */
  epoch: string | null;
  revision: number;
  /** By model. */
  heads: ReadonlyMap<string, Head>;
  /** Of `<revision> <model> <hash>\n` of every message, in the order of the log; it may go on. */
  order: Hash;
}

/** SHA-256 of the RFC 8785 form of `{model: {revision, hash}}`. */
export function digestOfHeads(heads: ReadonlyMap<string, Head>): string {
  const plain = [...heads].map(([model, { revision, hash }]) => [model, { revision, hash }] as const);
  return `sha256:${sha256Hex(canonicalize(Object.fromEntries(plain))!)}`;
}
