import { Problem } from '../domain/errors.ts';
import { isNoResponders } from './append.ts';
import type { Nats } from './connection.ts';
import { findOrCreateStream, headOf, type LogHead, RESTORING, STREAM } from './stream.ts';

/**
 * Marks the stream as being restored, so that it is not read before it is complete. Creates the stream if it is missing.
 * Returns its head: how far an earlier, unfinished restore got.
 *
 * @throws {Problem} conflict, if the stream has events that a restore did not write; forbidden
 */
export async function beginRestore(nats: Nats): Promise<LogHead> {
  const mark = { application: 'signalbox', generation: '0', [RESTORING]: 'true' };
  const info = await findOrCreateStream(nats, mark);
  const head = headOf(info);
  if (!head.restoring && head.revision > 0) {
    const state = `The stream ${STREAM} is not empty: it ends at revision ${head.revision}.`;
    throw new Problem('conflict', `${state} A restore needs an empty log.`);
  }
  // Also if the mark is set already: without permission to update the stream, the restore could not end.
  await setMetadata(nats, { ...info.config.metadata, [RESTORING]: 'true' });
  return head;
}

/** Removes the mark, so that the stream can be read as a log of this generation. */
export async function endRestore(nats: Nats, generation: number): Promise<void> {
  const { config } = await nats.jsm.streams.info(STREAM);
  const { [RESTORING]: _, ...metadata } = config.metadata ?? {};
  await setMetadata(nats, { ...metadata, generation: String(generation) });
}

async function setMetadata({ jsm }: Nats, metadata: Record<string, string>): Promise<void> {
  try {
    await jsm.streams.update(STREAM, { metadata });
  } catch (error) {
    if (!isNoResponders(error)) throw error;
    const detail = 'This NATS user may not change the stream. With deploy/nats-access.conf, use the user admin.';
    throw new Problem('forbidden', detail, {}, error);
  }
}
