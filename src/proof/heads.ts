import canonicalize from 'canonicalize';
import { sha256Hex } from '../domain/digest.ts';

/** The last message of a model: its revision, and the SHA-256 of its body. */
export interface Head {
  revision: number;
  hash: string;
}

/** The state of a log: enough to check whether another log, or a later state, contains it. */
export interface LogState {
  generation: number;
  /** SHA-256 of the body at revision 1; null while there is none. */
  epoch: string | null;
  revision: number;
  /** By model. */
  heads: ReadonlyMap<string, Head>;
  /** Returns the SHA-256 over `<revision> <model> <hash>\n` of every message, in the order of the log, in hexadecimal. */
  order(): string;
}

/** Returns the SHA-256 of the RFC 8785 form of `{model: {revision, hash}}`. */
export function digestOfHeads(heads: ReadonlyMap<string, Head>): string {
  const plain = [...heads].map(([model, { revision, hash }]) => [model, { revision, hash }] as const);
  return `sha256:${sha256Hex(canonicalize(Object.fromEntries(plain))!)}`;
}
