import { opendir } from 'node:fs/promises';
import type { ReadModel } from '../read-model/read-model.ts';
import { obstacleTo, versionsFolder } from './layout.ts';
import { versionsBefore } from './versions.ts';

/** The number of models worked on at once: hashing a file takes memory and a file descriptor. */
const MODELS_AT_ONCE = 8;
const PAGE = 500;

export interface Laying {
  volume: string;
  readModel: Pick<ReadModel, 'db'>;
  /** Versions published after this revision are not looked at. */
  revision: number;
  /** Lays the folder of a version, in the model's turn. */
  lay(model: string, version: string): Promise<void>;
  /** Called when a version's folder is there, or was tried. */
  looked(): void;
  stopped(): boolean;
}

/** Runs the work for each model, several at once. */
export async function forEachModel(names: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
  const rest = names.values(); // shared by the workers
  const worker = async () => {
    for (const name of rest) await work(name);
  };
  await Promise.all(Array.from({ length: MODELS_AT_ONCE }, worker));
}

/**
 * Lays the missing folders of a model, newest first. A folder that is there is complete, because it appears by rename, so
 * its files are not looked at. Only one folder at a time is queued, so that commands on the model get in between.
 */
export async function layMissing(model: string, laying: Laying): Promise<void> {
  const there = await foldersOf(laying.volume, model);
  let below = laying.revision + 1;
  for (;;) {
    const page = versionsBefore(laying.readModel.db, model, below, PAGE);
    for (const { version, revision } of page) {
      if (laying.stopped()) return;
      if (!there.has(version)) await laying.lay(model, version);
      laying.looked();
      below = revision;
    }
    if (page.length < PAGE) return;
    await new Promise(setImmediate); // other work of the event loop: nothing may have been missing
  }
}

/**
 * Returns the names of the folders of a model's versions. They are in memory only while the model is worked on. A folder that
 * cannot be read has none: each version is tried then, and reports it.
 */
export async function foldersOf(volume: string, model: string): Promise<Set<string>> {
  const folder = versionsFolder(volume, model);
  const names = new Set<string>();
  try {
    if (await obstacleTo(volume, folder)) return names;
    const entries = await opendir(folder, { bufferSize: PAGE });
    for await (const entry of entries) if (entry.isDirectory()) names.add(entry.name);
  } catch {
    // it may be missing
  }
  return names;
}
