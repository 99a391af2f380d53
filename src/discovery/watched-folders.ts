import type { Connection } from '../projections/read-model/connection.ts';
import { unpublishedOf } from '../projections/volume/versions.ts';
import { type Candidate, candidatesIn, modelsOn, versionsFolderOf } from './candidates.ts';

/** The number of models whose folders are looked at in a scan. */
const MODELS_PER_SCAN = 500;
/** Many file systems state times of up to two seconds: a folder may change again within its last change. */
const GRANULARITY_MS = 2_000;
/** Reading folders takes at most about this part of the time. */
const SHARE = 1 / 20;

/** What was found in a model's `versions` folder. */
interface Found {
  changed_at: number;
  /** When it was read, and how long that took, in ms. */
  read_at: number;
  took: number;
  candidates: Candidate[];
}

/**
 * Finds what is not published in the `versions` folders. A folder is read again after it changed; if there are many, each
 * scan looks at a part of them. Nothing is remembered of published versions.
 */
export function watchFolders(volume: string, db: () => Connection, now: () => number = Date.now) {
  const found = new Map<string, Found>();
  let next = 0;

  return { scan };

  /** Returns everything that is not published, as far as it is known. */
  async function scan(): Promise<Candidate[]> {
    const { models, refused } = await modelsOn(volume);
    const there = new Set(models);
    for (const model of found.keys()) if (!there.has(model)) found.delete(model);
    for (const model of turnOf(models)) await look(model);
    return [...refused, ...[...found.values()].flatMap(({ candidates }) => candidates)];
  }

  function turnOf(models: string[]): string[] {
    if (next >= models.length) next = 0;
    const turn = models.slice(next, next + MODELS_PER_SCAN);
    next += MODELS_PER_SCAN;
    return turn;
  }

  async function look(model: string): Promise<void> {
    const folder = await versionsFolderOf(volume, model);
    if (!folder) return void found.delete(model);
    const known = found.get(model);
    const read_at = now();
    if (known && !isDue(known, folder.changed_at, read_at)) return;
    const started = performance.now();
    const candidates = await candidatesIn(folder, model, (names) => unpublishedOf(db(), model, names));
    found.set(model, { changed_at: folder.changed_at, read_at, took: performance.now() - started, candidates });
  }
}

function isDue(known: Found, changed_at: number, now: number): boolean {
  const settled = known.read_at - known.changed_at > GRANULARITY_MS;
  if (changed_at === known.changed_at && settled) return false;
  return now - known.read_at > known.took / SHARE;
}
