import type { StoredMsg } from '@nats-io/jetstream';
import { sha256Hex } from '../domain/digest.ts';
import type { Nats } from './connection.ts';
import { modelOf, STREAM, subjectOf } from './stream.ts';

export interface LogMessage {
  revision: number;
  /** The subject's last token: a model's name, unless somebody else published there. */
  model: string;
  body: Uint8Array;
}

/** The message at a revision, from any replica, or from the leader where that one has not got it yet; else null. */
export async function readAt({ jsm }: Nats, revision: number): Promise<LogMessage | null> {
  const query = { seq: revision };
  return message((await jsm.direct.getMessage(STREAM, query)) ?? (await jsm.streams.getMessage(STREAM, query)));
}

/** The first message of a model after a revision, from the leader, who has read every write he acknowledged. */
export async function readNext({ jsm }: Nats, model: string, after: number): Promise<LogMessage | null> {
  // STREAM.MSG.GET takes next_by_subj since 2.9; the client's type of the request leaves it out.
  const query = { seq: after + 1, next_by_subj: subjectOf(model) };
  return message(await jsm.streams.getMessage(STREAM, query));
}

/** The last message of a model, from the leader. */
export async function readLast({ jsm }: Nats, model: string): Promise<LogMessage | null> {
  return message(await jsm.streams.getMessage(STREAM, { last_by_subj: subjectOf(model) }));
}

/** Of a message's body, in hexadecimal: what the next event of the model carries as `prevhash`. */
export function hashOf(body: Uint8Array): string {
  return sha256Hex(body);
}

/** The body hash at a revision, from the leader; null where there is no such message. */
export async function readHash({ jsm }: Nats, revision: number): Promise<string | null> {
  const stored = await jsm.streams.getMessage(STREAM, { seq: revision });
  return stored && hashOf(stored.data);
}

function message(stored: StoredMsg | null): LogMessage | null {
  return stored && { revision: stored.seq, model: modelOf(stored.subject), body: stored.data };
}
