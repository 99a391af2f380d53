import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { z } from 'zod';
import { fullOr, metaOf, OBJECTS, type ObjectStream } from './stream.ts';

/** The description of an object, as the object store's clients write it. It makes the chunks an object. */
const metaSchema = z.looseObject({
  name: z.string(),
  /** Names the chunks. */
  nuid: z.string().regex(/^\w+$/),
  size: z.int().nonnegative(),
  /** `SHA-256=` and base64url. Empty after a deletion. */
  digest: z.string(),
  /** Other clients mark a deleted object. */
  deleted: z.boolean().optional(),
});
export type Meta = z.infer<typeof metaSchema>;

export interface StoredMeta {
  meta: Meta;
  /** The revision of its message: 0 if there is none. */
  revision: number;
  modified: number;
}

/** @throws {Error} if other software stored something else */
export function parseMeta(body: string): Meta {
  return metaSchema.parse(JSON.parse(body));
}

/** Reads the description of an object from the leader, which has every acknowledged write; null if there is none. */
export async function readMeta({ jsm }: ObjectStream, key: string): Promise<StoredMeta | null> {
  const stored = await jsm.streams.getMessage(OBJECTS, { last_by_subj: metaOf(key) });
  return stored && { meta: parseMeta(stored.string()), revision: stored.seq, modified: stored.time.getTime() };
}

/** Like `readMeta`, but null for a deleted object. */
export async function findObject(stream: ObjectStream, key: string): Promise<StoredMeta | null> {
  const found = await readMeta(stream, key);
  return found?.meta.deleted ? null : found;
}

/**
 * Stores a description, if the object's last one has this revision; 0 for none. It replaces the last one: the client's own
 * `update` adds a message each time, and could restore an object that is being deleted.
 *
 * @returns whether it was stored; an error other than a refusal leaves that open
 * @throws {Problem} volume-full
 */
export async function writeMeta(stream: ObjectStream, meta: Meta, revision: number): Promise<boolean> {
  const rollup = headers();
  rollup.set('Nats-Rollup', 'sub');
  const body = JSON.stringify({ ...meta, mtime: new Date().toISOString() });
  const expect = { lastSubjectSequence: revision, streamName: OBJECTS };
  try {
    await stream.js.publish(metaOf(meta.name), body, { headers: rollup, expect, timeout: stream.timeoutMs });
    return true;
  } catch (error) {
    if (isConflict(error)) return false;
    throw fullOr(error, stream.name);
  }
}

const CONFLICTS: number[] = [
  JetStreamApiCodes.StreamWrongLastSequence,
  // Another write to the subject is still in flight on the leader of a replicated stream.
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
];

function isConflict(error: unknown): boolean {
  return error instanceof JetStreamApiError && CONFLICTS.includes(error.code);
}
