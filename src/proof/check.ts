import { addMessage, type Chain, emptyChain, noteGap } from './chain.ts';
import { type Checkpoint, checkpointOf } from './checkpoint.ts';
import type { LogSource } from './source.ts';

/** A checkpoint, and its name in messages. */
export interface NamedCheckpoint {
  name: string;
  checkpoint: Checkpoint;
}

/** A checkpoint that was compared with a log, and why it does not fit; null if it fits. */
export interface Verdict extends NamedCheckpoint {
  why: string | null;
}

export interface CheckResult {
  /** Sorted by revision. */
  verdicts: Verdict[];
  /** The whole log. */
  chain: Chain;
}

/** Reads a log once, and compares each checkpoint with the log at the checkpoint's revision. */
export async function checkLog(
  source: LogSource,
  checkpoints: NamedCheckpoint[],
  progress?: (revision: number, head: number) => void,
): Promise<CheckResult> {
  const chain = emptyChain(source.generation);
  const waiting = checkpoints.toSorted((a, b) => a.checkpoint.revision - b.checkpoint.revision);
  const verdicts: Verdict[] = [];
  for await (const batch of source.batches()) {
    for (const message of batch) {
      judgeBelow(message.revision);
      addMessage(chain, message);
    }
    progress?.(chain.revision, source.head);
  }
  judgeBelow(Number.POSITIVE_INFINITY);
  noteGap(chain, source.head);
  return { verdicts, chain };

  function judgeBelow(next: number): void {
    while (waiting[0] && waiting[0].checkpoint.revision < next) {
      const one = waiting.shift()!;
      const agreed = verdicts.findLast(({ why }) => why === null)?.checkpoint.revision;
      verdicts.push({ ...one, why: difference(chain, one.checkpoint, agreed ?? 0) });
    }
  }
}

/** Returns why a log, read to a checkpoint's revision, does not fit; `agreed` is the last revision that did, or 0. */
function difference(chain: Chain, was: Checkpoint, agreed: number): string | null {
  const is = checkpointOf(chain, new Date(was.time));
  if (is.generation < was.generation) {
    return `the log has generation ${is.generation}, lower than ${was.generation}: it is a copy from before a restore`;
  }
  if (is.revision > 0 && is.epoch !== was.epoch && was.revision > 0)
    return 'it is another log: its first event differs';
  if (is.revision < was.revision) {
    return `the log does not reach revision ${was.revision}: everything after revision ${is.revision} is missing`;
  }
  if (is.digest === was.digest && is.order === was.order) return null;
  const from = agreed > 0 ? `revision ${agreed}, where another checkpoint agrees,` : 'its first event';
  return `the log was rewritten between ${from} and revision ${was.revision}`;
}
