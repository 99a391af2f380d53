import { dirname, sep } from 'node:path';
import type { Logger } from 'pino';
import { obstacleTo } from './layout.ts';

/** Brings one path of the volume to the state of the read model. */
export interface PathWork {
  path: string;
  /** Returns work that has to be done before `run`, if any. */
  first?(): Promise<PathWork | null>;
  run(): Promise<PathResult>;
}

export interface PathResult {
  /** What is wrong with the path, as sentences. */
  problems: string[];
  /** Whether bytes are missing that may still arrive. */
  incomplete?: boolean;
}

/** Work on the volume: one path after the other for each model, and the models concurrently. */
export interface PathQueue {
  /** Queues work of a model, and calls `choose` when it starts. Resolves when it is done, also with problems. */
  add(model: string, choose: () => PathWork[]): Promise<void>;
  /** Resolves when everything queued so far is done, of one model or of all. */
  idle(model?: string): Promise<void>;
  /** Repeats the work that has problems, and some of the work that is incomplete, in turn; except in models that are busy. */
  retry(): void;
  /** The problems of one model or of all; paths are relative to the volume. */
  problems(model?: string): string[];
  /** Drops the work that is queued or to be repeated. */
  clear(): void;
}

/** How much of the work that waits for bytes is repeated at once. */
const WAITING_AT_ONCE = 5_000;

interface Unfinished {
  model: string;
  work: PathWork;
  problems: string[];
}

export function createPathQueue(volume: string, log: Logger): PathQueue {
  /** The end of the queued work, by model; idle models have no entry. */
  const ends = new Map<string, Promise<void>>();
  /** By path, the work that has problems, and the work that lacks bytes only: there may be as much as there are versions. */
  const wrong = new Map<string, Unfinished>();
  const waiting = new Map<string, Unfinished>();
  let cleared = 0;

  return {
    add,
    async idle(model) {
      await (model === undefined ? Promise.all(ends.values()) : ends.get(model));
    },
    retry() {
      const due = [...wrong.values(), ...firstOf(waiting.values(), WAITING_AT_ONCE)];
      for (const [model, entries] of Map.groupBy(due, ({ model }) => model)) {
        const left = () => entries.filter(({ work }) => wrong.has(work.path) || waiting.has(work.path));
        if (!ends.has(model)) void add(model, () => left().map(({ work }) => work));
      }
    },
    problems(model) {
      const entries = [...wrong.values()].filter((entry) => model === undefined || entry.model === model);
      return entries.flatMap(({ problems }) => problems);
    },
    clear() {
      cleared++;
      wrong.clear();
      waiting.clear();
    },
  };

  function add(model: string, choose: () => PathWork[]): Promise<void> {
    const added = cleared;
    const end = (ends.get(model) ?? Promise.resolve())
      .then(async () => {
        if (added !== cleared) return;
        const passed = new Set<string>();
        for (const work of choose()) if (added === cleared) await attempt(model, work, passed);
      })
      .catch((err: unknown) => log.error({ err, model }, 'files on the volume were not updated'))
      .finally(() => {
        if (ends.get(model) === end) ends.delete(model);
      });
    ends.set(model, end);
    return end;
  }

  async function attempt(model: string, work: PathWork, passed: Set<string>): Promise<void> {
    const { path } = work;
    const { problems: found, incomplete } = await resultOf(model, work, passed);
    const problems = found.map((problem) => problem.replaceAll(`${volume}${sep}`, '').replaceAll(volume, '.'));
    const before = wrong.get(path)?.problems ?? [];
    if (problems.length > 0 && problems.join() !== before.join()) {
      log.error({ model, problems }, 'files on the volume differ from the log');
    }
    wrong.delete(path);
    waiting.delete(path);
    // At the end: what waits for bytes is repeated in turn.
    if (problems.length > 0) wrong.set(path, { model, work, problems });
    else if (incomplete) waiting.set(path, { model, work, problems });
  }

  async function resultOf(model: string, { path, first, run }: PathWork, passed: Set<string>): Promise<PathResult> {
    try {
      const before = await first?.();
      if (before) await attempt(model, before, passed);
      const obstacle = await obstacleTo(volume, dirname(path), passed);
      return obstacle
        ? { problems: [`${obstacle} must be a folder, not a link or a file; move it away`] }
        : await run();
    } catch (error) {
      return { problems: [`${path}: ${error instanceof Error ? error.message : error}`] };
    }
  }
}

function* firstOf<T>(items: Iterable<T>, limit: number): Generator<T> {
  let left = limit;
  for (const item of items) {
    if (left-- === 0) return;
    yield item;
  }
}
