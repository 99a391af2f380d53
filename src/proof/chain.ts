import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { sha256Hex } from '../domain/digest.ts';
import { modelOf } from '../log/subjects.ts';
import type { Head, LogState } from './heads.ts';
import type { RawMessage } from './source.ts';

const NO_HASH = '0'.repeat(64);

/** A log that was read so far, and the first thing of each kind in it that does not fit. */
export interface Chain extends LogState {
  heads: Map<string, Head>;
  /** Revisions that are not there any more. */
  gap: { first: number; last: number } | null;
  /** Where a model's chain breaks, by model. */
  breaks: Map<string, { revision: number; why: string }>;
}

export function emptyChain(generation: number): Chain {
  return {
    generation,
    epoch: null,
    revision: 0,
    heads: new Map(),
    order: createHash('sha256'),
    gap: null,
    breaks: new Map(),
  };
}

/** Takes the next message of the log in. What follows a break of a model is not checked: nobody can follow it. */
export function follow(chain: Chain, { revision, subject, body }: RawMessage): void {
  const model = modelOf(subject);
  const hash = sha256Hex(body);
  if (!chain.breaks.has(model)) {
    const why = breakOf(chain.heads.get(model), body);
    if (why) chain.breaks.set(model, { revision, why });
  }
  missUntil(chain, revision - 1);
  if (revision === 1) chain.epoch = hash;
  chain.revision = revision;
  chain.heads.set(model, { revision, hash });
  chain.order.update(`${revision} ${model} ${hash}\n`);
}

/** The log goes to `head`: what was not read of it is not there any more. */
export function missUntil(chain: Chain, head: number): void {
  if (head > chain.revision) chain.gap ??= { first: chain.revision + 1, last: head };
}

function breakOf(previous: Head | undefined, body: Buffer): string | null {
  const prevhash = prevhashOf(body);
  if (prevhash === null) return 'it is no event: somebody else wrote it';
  if (prevhash === (previous?.hash ?? NO_HASH)) return null;
  if (!previous) return `it should be the model’s first event, but its prevhash is ${prevhash}`;
  return (
    `its prevhash is ${prevhash}, but the body at revision ${previous.revision}, the one before, has the hash ` +
    `${previous.hash}: one of them was altered, or events between them are gone`
  );
}

/** What a body names as the hash of the one before it; null where it names none. */
export function prevhashOf(body: Buffer): string | null {
  if (!isUtf8(body)) return null;
  try {
    const { prevhash } = JSON.parse(body.toString('utf8')) as { prevhash?: unknown };
    return typeof prevhash === 'string' ? prevhash : null;
  } catch {
    return null; // no JSON, or nothing that could have members
  }
}

/** What does not fit, a line each; none for a log that is whole as far as a chain can tell. */
export function findingsOf({ gap, breaks }: Chain): string[] {
  const missing = gap && `Revisions ${gap.first} to ${gap.last} are missing: they were taken out of the log.`;
  const broken = [...breaks].map(
    ([model, { revision, why }]) => `The chain of ${model} breaks at revision ${revision}: ${why}.`,
  );
  return missing ? [missing, ...broken] : broken;
}
