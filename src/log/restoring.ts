import { Problem } from '../domain/errors.ts';
import { nobodyListened } from './append.ts';
import type { Nats } from './connection.ts';
import { findOrCreateStream, headOf, type LogHead, RESTORING, STREAM } from './stream.ts';

/**
 * Marks the stream as one that is being restored, so that nobody follows it before it is whole, and answers how far an
 * earlier restore came. It makes the stream where there is none.
 *
 * @throws {Problem} conflict where the stream has events that no restore put there; forbidden
 */
export async function beginRestore(nats: Nats): Promise<LogHead> {
  const mark = { application: 'signalbox', generation: '0', [RESTORING]: 'true' };
  const info = await findOrCreateStream(nats, mark);
  const head = headOf(info);
  if (!head.restoring && head.revision > 0) {
    const detail = `The stream ${STREAM} is not empty: it ends at revision ${head.revision}. A log is restored where there is none.`;
    throw new Problem('conflict', detail);
  }
  // Also where the mark is there: whoever may not change the stream could not end the restore.
  await setMetadata(nats, { ...info.config.metadata, [RESTORING]: 'true' });
  return head;
}

/** Lets everybody follow the stream, as a log of this generation. */
export async function endRestore(nats: Nats, generation: number): Promise<void> {
  const { config } = await nats.jsm.streams.info(STREAM);
  const { [RESTORING]: _, ...metadata } = config.metadata ?? {};
  await setMetadata(nats, { ...metadata, generation: String(generation) });
}

async function setMetadata({ jsm }: Nats, metadata: Record<string, string>): Promise<void> {
  try {
    await jsm.streams.update(STREAM, { metadata });
  } catch (error) {
    if (!nobodyListened(error)) throw error;
    const detail = 'This user of NATS may not change the stream; with deploy/nats-access.conf it takes admin.';
    throw new Problem('forbidden', detail, {}, error);
  }
}
