import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NO_HEAD } from '../../src/domain/model.ts';
import { hashOf } from '../../src/log/read.ts';

const folder = join(import.meta.dirname, 'fixtures');

/**
 * The recorded body of every type and version that was ever written, by its spelling such as `notes.changed.v1`. Files of
 * it are never changed. Together they are the history of one model: a new one follows the last in the chain.
 */
export const recorded = new Map(
  readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => {
      // The file is formatted; the body that was stored has the same fields in the same order, without white space.
      const body = Buffer.from(JSON.stringify(JSON.parse(readFileSync(join(folder, name), 'utf8'))));
      return [name.replace(/\.json$/, ''), body] as const;
    }),
);

/** The same in the order of their chain. */
export function recordedHistory(): Buffer[] {
  const byPrevious = new Map([...recorded.values()].map((body) => [prevhashOf(body), body]));
  const history: Buffer[] = [];
  for (let body = byPrevious.get(NO_HEAD); body; body = byPrevious.get(hashOf(body))) history.push(body);
  return history;
}

/** A recorded body with other fields in its envelope and its data. */
export function alteredBody(spelling: string, envelope: object, data: object = {}): Buffer {
  const event = JSON.parse(recorded.get(spelling)!.toString());
  return Buffer.from(JSON.stringify({ ...event, ...envelope, data: { ...event.data, ...data } }));
}

function prevhashOf(body: Buffer): string {
  return JSON.parse(body.toString()).prevhash;
}
