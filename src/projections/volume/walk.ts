import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import { parsedOrNull } from '../../domain/json.ts';

/** Items in an order, each with the key that the next page begins after. */
export interface Walk {
  name: string;
  /** The key before the first item. */
  first: string;
  /** Returns a page of items; an empty one is the end of a round. */
  after(key: string): { key: string; visit(): Promise<void> }[];
}

export interface WalkOptions {
  /** The time of a round, in ms: its items are visited evenly spread over it. */
  period: number;
  /** Where the walks are continued after a restart. */
  file: string;
  /** Whether the items are known; if not, the walks wait. */
  ready(): boolean;
  stop: AbortSignal;
  log: Pick<Logger, 'error'>;
}

const Places = z.record(z.string(), z.string());
const RETRY_MS = 60_000;
const SAVE_EVERY_MS = 60_000;
const HOUR_MS = 3600_000;

/** Walks through all items again and again until stopped. Resolves when the places of the walks are saved. */
export async function walkEndlessly(walks: readonly Walk[], options: WalkOptions): Promise<void> {
  const { period, file, ready, stop, log } = options;
  const places = await readPlaces(file);
  let saved = Date.now();
  await Promise.all(walks.map(endless));
  await save();

  async function endless(walk: Walk): Promise<void> {
    while (!stop.aborted) {
      try {
        if (ready()) await round(walk);
        else await pause(RETRY_MS);
      } catch (err) {
        log.error({ err, walk: walk.name }, 'the scrub could not continue; it tries again in a minute');
        await pause(RETRY_MS);
      }
    }
  }

  async function round(walk: Walk): Promise<void> {
    const started = Date.now();
    const count = await countOf(walk);
    let done = 0;
    for (;;) {
      const page = walk.after(places[walk.name] ?? walk.first);
      for (const { key, visit } of page) {
        await until(dueAt(started, done++, count, period));
        if (stop.aborted) return;
        await visit().catch((err: unknown) => {
          // The next item may be readable.
          if (!stop.aborted) log.error({ err, walk: walk.name, key }, 'the scrub could not check an item');
        });
        if (stop.aborted) return;
        places[walk.name] = key;
        if (Date.now() - saved > SAVE_EVERY_MS) await save();
      }
      if (page.length > 0) continue;
      delete places[walk.name];
      if (count === 0) return void (await pause(RETRY_MS));
      // The part of a round that is left after a start is shorter than a period.
      return until(dueAt(started, Math.max(done, 1), count, period));
    }
  }

  /** A page at a time: counting all at once would stop the event loop. */
  async function countOf(walk: Walk): Promise<number> {
    let count = 0;
    let page = walk.after(walk.first);
    while (page.length > 0 && !stop.aborted) {
      count += page.length;
      await new Promise(setImmediate);
      page = walk.after(page.at(-1)!.key);
    }
    return count;
  }

  async function until(time: number): Promise<void> {
    while (!stop.aborted && Date.now() < time) await pause(Math.min(time - Date.now(), HOUR_MS));
  }

  function pause(ms: number): Promise<unknown> {
    return sleep(ms, null, { signal: stop }).catch(() => null);
  }

  /** Not synced: a crash of the machine costs some work that is done again. */
  async function save(): Promise<void> {
    saved = Date.now();
    const failed = (err: unknown) => log.error({ err }, 'how far the scrub is could not be saved');
    await writeFile(file, JSON.stringify(places), { mode: 0o600 }).catch(failed);
  }
}

/** Without a valid file, the walks begin at their start. */
async function readPlaces(file: string): Promise<Record<string, string>> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return parsedOrNull(Places, text) ?? {};
}

/** Returns when an item of a walk is due, in ms: `count` items are spread evenly over a period that begins at `started`. */
export function dueAt(started: number, item: number, count: number, period: number): number {
  return started + (item * period) / Math.max(count, 1);
}
