import type { StoredMsg } from '@nats-io/jetstream';
import { sha256Hex } from '../domain/digest.ts';
import type { Nats } from './connection.ts';
import { modelOf, STREAM, subjectOf } from './stream.ts';

export interface LogMessage {
  revision: number;
  /** The subject's last token: a model's name, unless something other than a registry published the message. */
  model: string;
  body: Uint8Array;
}

/** Reads the message at a revision from any replica, or from the leader if the replica lags behind; else null. */
export async function readAt({ jsm }: Nats, revision: number): Promise<LogMessage | null> {
  const query = { seq: revision };
  return message((await jsm.direct.getMessage(STREAM, query)) ?? (await jsm.streams.getMessage(STREAM, query)));
}

/** Reads a model's first message after a revision from the leader, which has every acknowledged write; else null. */
export async function readNext({ jsm }: Nats, model: string, after: number): Promise<LogMessage | null> {
  // STREAM.MSG.GET accepts next_by_subj since 2.9; the client's type of the request omits it.
  const query = { seq: after + 1, next_by_subj: subjectOf(model) };
  return message(await jsm.streams.getMessage(STREAM, query));
}

/** Reads a model's last message from the leader; null if there is none. */
export async function readLast({ jsm }: Nats, model: string): Promise<LogMessage | null> {
  return message(await jsm.streams.getMessage(STREAM, { last_by_subj: subjectOf(model) }));
}

/** Returns the SHA-256 of a message's body in hexadecimal; the model's next event carries it as `prevhash`. */
export function hashOf(body: Uint8Array): string {
  return sha256Hex(body);
}

/** Reads the hash of the body at a revision from the leader; null if there is no such message. */
export async function readHash({ jsm }: Nats, revision: number): Promise<string | null> {
  const stored = await jsm.streams.getMessage(STREAM, { seq: revision });
  return stored && hashOf(stored.data);
}

function message(stored: StoredMsg | null): LogMessage | null {
  return stored && { revision: stored.seq, model: modelOf(stored.subject), body: stored.data };
}
