import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { parsedOrNull } from '../domain/json.ts';
import { STREAM } from '../log/subjects.ts';
import { Checkpoint } from './checkpoint.ts';
import type { RawMessage } from './source.ts';

/** The first line of an exported log. */
const Header = z.strictObject({
  signalbox_log: z.literal(1),
  generation: z.int().min(0),
  stream: z.literal(STREAM),
  head: z.int().min(0),
});
export type Header = z.infer<typeof Header>;

/** The last line. `digest` is the SHA-256 of every byte of the file before the digest itself. */
const Ending = z.strictObject({ checkpoint: Checkpoint, signed: z.string().optional(), digest: z.string() });
export type Ending = z.infer<typeof Ending>;

/** Fits a message of 512 KiB with every byte escaped, and the other fields. */
export const MAX_LINE_BYTES = 4 * 1024 * 1024;

export function headerLine({ generation, head }: { generation: number; head: number }): string {
  return JSON.stringify({ signalbox_log: 1, generation, stream: STREAM, head } satisfies Header);
}

/** Encodes a message with the exact bytes of its body: as text if they are UTF-8, else in base64. */
export function messageLine({ revision, subject, stored_at, body }: RawMessage): string {
  const content = isUtf8(body) ? { body: body.toString('utf8') } : { body_base64: body.toString('base64') };
  return JSON.stringify({ revision, subject, stored_at: stored_at.toISOString(), ...content });
}

/** Returns the last line up to its digest. */
export function endingStart({ checkpoint, signed }: Omit<Ending, 'digest'>): string {
  return `${JSON.stringify({ checkpoint, signed }).slice(0, -1)},"digest":"`;
}

export function endingLine(ending: Ending): string {
  return `${endingStart(ending)}${ending.digest}"}`;
}

/** Reads what `headerLine` wrote; null if any byte differs. */
export function readHeader(line: Buffer): Header | null {
  const header = parsedOrNull(Header, line.toString('utf8'));
  return header && line.equals(Buffer.from(headerLine(header))) ? header : null;
}

/** Reads what `endingLine` wrote; null if any byte differs. */
export function readEnding(line: Buffer): Ending | null {
  const ending = parsedOrNull(Ending, line.toString('utf8'));
  return ending && line.equals(Buffer.from(endingLine(ending))) ? ending : null;
}

/** Reads what `messageLine` wrote; null if any byte differs. */
export function readMessage(line: Buffer): RawMessage | null {
  try {
    const message = messageIn(line);
    return line.equals(Buffer.from(messageLine(message))) ? message : null;
  } catch {
    return null; // not JSON, not an object, or not a date
  }
}

/** Does not validate: the caller encodes the result again and compares. A schema for every event would be slow. */
function messageIn(line: Buffer): RawMessage {
  const { revision, subject, stored_at, body, body_base64 } = JSON.parse(line.toString('utf8'));
  const bytes = typeof body === 'string' ? Buffer.from(body) : Buffer.from(String(body_base64), 'base64');
  return { revision, subject, stored_at: new Date(stored_at), body: bytes };
}
