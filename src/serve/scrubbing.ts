import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { dueAt } from '../artifacts/scrub.ts';
import type { Digest } from '../domain/digest.ts';
import { digestsAfter } from '../projections/read-model/references.ts';
import { scrubBlob } from '../projections/volume/repair.ts';
import { versionsAfter } from '../projections/volume/versions.ts';
import type { VolumeProjection } from '../projections/volume/volume.ts';
import type { Opened, Parts } from './parts.ts';

const HOUR_MS = 3600_000;
const PAGE = 100;
const RETRY_MS = 60_000;
const SAVE_EVERY_MS = 60_000;

/** Items in an order, each with the key that the next page begins after. */
interface Walk {
  name: 'blobs' | 'folders';
  first: string;
  after(key: string): { key: string; visit(): Promise<void> }[];
}

/**
 * Reads every blob again in each period, and checks every version's folder file by file: two endless walks, evenly slow,
 * which continue where they were when the server was stopped.
 */
export function startScrubbing(parts: Parts, files: VolumeProjection, opened: Opened): void {
  const { config, volume, projector, store, metrics, log } = parts;
  const period = config.REGISTRY_SCRUB_HOURS * HOUR_MS;
  if (period === 0) return;
  const { readModel } = projector;
  const file = join(volume, '.signalbox', 'scrub.json');
  const stop = new AbortController();
  const places: Record<string, string> = {};
  const blobs: Walk = {
    name: 'blobs',
    first: '',
    after: (key) => digestsAfter(readModel.db, key, PAGE).map((digest) => ({ key: digest, visit: () => blob(digest) })),
  };
  const folders: Walk = {
    name: 'folders',
    first: '0',
    after: (key) =>
      versionsAfter(readModel.db, Number(key), PAGE).map(({ model, version, revision }) => ({
        key: String(revision),
        visit: () => files.scrub(model, version, stop.signal),
      })),
  };
  let saved = Date.now();
  const walking = scrub();
  opened(() => {
    stop.abort();
    return walking;
  });

  async function scrub(): Promise<void> {
    Object.assign(places, await readPlaces(file));
    await Promise.all([endless(blobs), endless(folders)]);
    await save();
  }

  async function blob(digest: Digest): Promise<void> {
    const started = performance.now();
    const result = await scrubBlob(digest, { volume, store, readModel, check: files.check, stop: stop.signal });
    metrics.scrubbed(result);
    if (result === 'intact') return;
    const latency_ms = Math.round(performance.now() - started);
    const line = {
      event_type: 'blob.scrubbed',
      request_id: randomUUID(),
      actor: 'registry',
      result,
      digest,
      latency_ms,
    };
    if (result === 'restored') log.warn(line, 'bytes were damaged or missing, and restored from a version’s folder');
    else log.error(line, `the bytes of published versions are ${result}; send them again, or copy them from a backup`);
  }

  async function endless(walk: Walk): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        // A read model that is being made anew lacks versions.
        if (projector.complete()) await round(walk);
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
        if (stop.signal.aborted) return;
        await visit().catch((err: unknown) => {
          // The next item may be readable.
          if (!stop.signal.aborted) log.error({ err, walk: walk.name, key }, 'the scrub could not check an item');
        });
        if (stop.signal.aborted) return;
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
    while (page.length > 0 && !stop.signal.aborted) {
      count += page.length;
      await new Promise(setImmediate);
      page = walk.after(page.at(-1)!.key);
    }
    return count;
  }

  async function until(time: number): Promise<void> {
    while (!stop.signal.aborted && Date.now() < time) await pause(Math.min(time - Date.now(), HOUR_MS));
  }

  function pause(ms: number): Promise<unknown> {
    return sleep(ms, null, { signal: stop.signal }).catch(() => null);
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
  try {
    const { blobs, folders } = JSON.parse(text) as Record<string, unknown>;
    return {
      ...(typeof blobs === 'string' && { blobs }),
      ...(typeof folders === 'string' && Number.isSafeInteger(Number(folders)) && { folders }),
    };
  } catch {
    return {};
  }
}
