import { isUtf8 } from 'node:buffer';
import { createHash, type Hash } from 'node:crypto';
import { sha256Hex } from '../domain/digest.ts';
import { modelOf } from '../log/subjects.ts';
import type { Head, LogState } from './heads.ts';
import type { RawMessage } from './source.ts';

const NO_HASH = '0'.repeat(64);

/** The state of a log that was read up to a revision, with its first gap and the first break of each model's chain. */
export interface Chain extends LogState {
  heads: Map<string, Head>;
  /** The first missing revisions. */
  gap: { first: number; last: number } | null;
  /** By model. */
  breaks: Map<string, { revision: number; why: string }>;
  /** What `order` is the digest of. */
  sequence: Hash;
}

export function emptyChain(generation: number): Chain {
  const sequence = createHash('sha256');
  return {
    generation,
    epoch: null,
    revision: 0,
    heads: new Map(),
    order: () => sequence.copy().digest('hex'),
    sequence,
    gap: null,
    breaks: new Map(),
  };
}

/** Adds the next message of the log. After a break, a model's later messages are added unchecked. */
export function addMessage(chain: Chain, { revision, subject, body }: RawMessage): void {
  const model = modelOf(subject);
  const hash = sha256Hex(body);
  if (!chain.breaks.has(model)) {
    const why = breakOf(chain.heads.get(model), body);
    if (why) chain.breaks.set(model, { revision, why });
  }
  noteGap(chain, revision - 1);
  if (revision === 1) chain.epoch = hash;
  chain.revision = revision;
  chain.heads.set(model, { revision, hash });
  chain.sequence.update(`${revision} ${model} ${hash}\n`);
}

/** Records a gap if the chain does not reach `head`. */
export function noteGap(chain: Chain, head: number): void {
  if (head > chain.revision) chain.gap ??= { first: chain.revision + 1, last: head };
}

function breakOf(previous: Head | undefined, body: Buffer): string | null {
  const prevhash = prevhashOf(body);
  if (prevhash === null) return 'it is not an event of the registry';
  if (prevhash === (previous?.hash ?? NO_HASH)) return null;
  if (!previous) return `it should be the model’s first event, but its prevhash is ${prevhash}`;
  return (
    `its prevhash is ${prevhash}, but the hash of the previous body, at revision ${previous.revision}, is ` +
    `${previous.hash}: one of the two was altered, or events between them are missing`
  );
}

/** Returns the `prevhash` of a body, or null if it has none. */
export function prevhashOf(body: Buffer): string | null {
  if (!isUtf8(body)) return null;
  try {
    const { prevhash } = JSON.parse(body.toString('utf8')) as { prevhash?: unknown };
    return typeof prevhash === 'string' ? prevhash : null;
  } catch {
    return null; // not JSON, or null
  }
}

/** Returns the gap and the breaks, one sentence each; empty if the chain shows no change of the log. */
export function findingsOf({ gap, breaks }: Chain): string[] {
  const missing = gap && `Revisions ${gap.first} to ${gap.last} are missing: they were removed from the log.`;
  const broken = [...breaks].map(
    ([model, { revision, why }]) => `The chain of ${model} breaks at revision ${revision}: ${why}.`,
  );
  return missing ? [missing, ...broken] : broken;
}
