import { Problem } from '../../domain/errors.ts';
import {
  compareRevision,
  type LogPosition,
  parseRevisionToken,
  type RevisionMark,
  revisionToken,
} from '../../log/identity.ts';
import type { Projector } from '../../projections/projector.ts';

/** The request header with the `Registry-Revision` of an earlier answer, which this answer must include. */
export const MIN_REVISION = 'Registry-Min-Revision';

/** Each event is compared with every request that waits, so their number has a limit. */
const MAX_WAITING = 1000;

/**
 * Returns null if the read model includes the revision of a token, else a promise for it.
 *
 * @throws {Problem} invalid-request for a token that is not valid, or of another log; not-caught-up
 */
export type AwaitRevision = (token: string) => Promise<void> | null;

/**
 * Returns the function that waits until the read model includes what a caller saw on another server: at most 5 seconds,
 * and for at most 1,000 requests at a time.
 *
 * @example await createRevisionWait(projector)('0-5f70a1b2-31')
 */
export function createRevisionWait({ readModel, until }: Pick<Projector, 'readModel' | 'until'>): AwaitRevision {
  let waiting = 0;

  return (token) => {
    const mark = parseRevisionToken(token);
    if (!mark) {
      throw new Problem('invalid-request', `${MIN_REVISION} must be the Registry-Revision of an earlier answer.`);
    }
    if (includes(readModel.committed, mark)) return null;
    if (waiting < MAX_WAITING) return wait(token, mark);
    throw notCaughtUp(token, `${MAX_WAITING} requests are waiting for a revision already.`);
  };

  async function wait(token: string, mark: RevisionMark): Promise<void> {
    waiting++;
    await until((position) => isPast(position, mark)).finally(() => waiting--);
    if (includes(readModel.committed, mark)) return;
    const detail = 'This server has not read that revision yet. Send the request again, or to another server.';
    throw notCaughtUp(token, detail);
  }

  function notCaughtUp(token: string, detail: string): Problem {
    return new Problem('not-caught-up', detail, { min_revision: token, reached: revisionToken(readModel.committed) });
  }
}

/** Compares numbers only, since it runs for each request that waits and each event of the log. */
function isPast({ generation, revision }: LogPosition, mark: RevisionMark): boolean {
  return generation > mark.generation || (generation === mark.generation && revision >= mark.revision);
}

/** @throws {Problem} invalid-request for a revision of another log */
function includes(position: LogPosition, mark: RevisionMark): boolean {
  const compared = compareRevision(position, mark);
  if (compared === 'reached' || compared === 'behind') return compared === 'reached';
  const why =
    compared === 'restored'
      ? `The log was restored after the revision in ${MIN_REVISION} was seen, so it may have lost that revision.`
      : `The revision in ${MIN_REVISION} is of another log.`;
  const detail = `${why} Send the request without the header, and use the Registry-Revision of its answer.`;
  throw new Problem('invalid-request', detail, { in: 'header', reached: revisionToken(position) });
}
