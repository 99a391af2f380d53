import { type Chain, emptyChain, follow, missUntil } from './chain.ts';
import { type Checkpoint, checkpointOf } from './checkpoint.ts';
import type { LogSource } from './source.ts';

/** A checkpoint that was kept, and what to call it in messages to people. */
export interface Kept {
  name: string;
  checkpoint: Checkpoint;
}

/** A kept checkpoint that was held against a log, and why that is not the log it was made of; null if it is. */
export interface Verdict extends Kept {
  why: string | null;
}

export interface Checked {
  /** In the order of their revisions. */
  verdicts: Verdict[];
  /** The log to its end. */
  chain: Chain;
}

/** Reads a log once, and holds each checkpoint against it where it stood then. */
export async function checkLog(
  source: LogSource,
  kept: Kept[],
  progress?: (revision: number, head: number) => void,
): Promise<Checked> {
  const chain = emptyChain(source.generation);
  const waiting = kept.toSorted((a, b) => a.checkpoint.revision - b.checkpoint.revision);
  const verdicts: Verdict[] = [];
  for await (const batch of source.batches()) {
    for (const message of batch) {
      judgeBelow(message.revision);
      follow(chain, message);
    }
    progress?.(chain.revision, source.head);
  }
  judgeBelow(Number.POSITIVE_INFINITY);
  missUntil(chain, source.head);
  return { verdicts, chain };

  function judgeBelow(next: number): void {
    while (waiting[0] && waiting[0].checkpoint.revision < next) {
      const one = waiting.shift()!;
      const agreed = verdicts.findLast(({ why }) => why === null)?.checkpoint.revision;
      verdicts.push({ ...one, why: difference(chain, one.checkpoint, agreed ?? 0) });
    }
  }
}

/** What a log, read to a checkpoint's revision, has other than the checkpoint saw; null if nothing. */
function difference(chain: Chain, was: Checkpoint, agreed: number): string | null {
  const is = checkpointOf(chain, new Date(was.time));
  if (is.generation < was.generation) {
    return `the log is of generation ${is.generation}, older than ${was.generation}: it is a copy from before a restore`;
  }
  if (is.revision > 0 && is.epoch !== was.epoch && was.revision > 0) return 'it is another log: it begins otherwise';
  if (is.revision < was.revision) {
    return `the log has nothing at revision ${was.revision}: it has lost everything after revision ${is.revision}`;
  }
  if (is.digest === was.digest && is.order === was.order) return null;
  const since = agreed > 0 ? `after revision ${agreed}, where another checkpoint agrees` : 'after its first event';
  return `the log was rewritten: events up to revision ${was.revision} are not those that were there. They differ ${since}`;
}
