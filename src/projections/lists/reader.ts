import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Problem, type ProblemCode } from '../../domain/errors.ts';
import { IN_MEMORY } from '../read-model/file.ts';
import type { ReadModel } from '../read-model/read-model.ts';
import { type Listed, type ListName, type ListQuery, type ListSettings, runList } from './lists.ts';

/** Answers lists from the last transaction of the read model. */
export interface ListReader {
  /** @throws {Problem} list-timeout, log-unavailable, and those of the list */
  list<N extends ListName>(name: N, query: ListQuery<N>): Promise<Listed<N>>;
  close(): Promise<void>;
}

/** A question to the thread. It opens the file again when `opening` has changed. */
export interface ListRequest {
  id: number;
  path: string;
  opening: number;
  name: ListName;
  query: unknown;
}

export interface ThreadData extends Pick<ListRequest, 'path' | 'opening'> {
  settings: ListSettings;
}

export type ListAnswer =
  | { id: number; listed: Listed<ListName> }
  | { id: number; problem: { code: ProblemCode; detail: string; fields: Record<string, unknown> } }
  | { id: number; error: unknown; damaged: boolean };

/** Also for a list that was asked before: it may show the new file, which lacks most of the log. */
function madeAnew(cause?: unknown): Problem {
  return new Problem('log-unavailable', 'The read model is being made anew from the log. Try again.', {}, cause);
}

/** A list takes milliseconds; one that a caller made to take longer must not hold up the others for long. */
const TIMEOUT_MS = 10_000;
const MAX_WAITING = 1_000;

/** Answers in this thread, for a read model in memory. */
export function listsInThisThread(readModel: Pick<ReadModel, 'db'>, settings: ListSettings): ListReader {
  return {
    list: async (name, query) => runList(readModel.db, name, query, settings),
    close: async () => {},
  };
}

/**
 * Answers in a thread of its own: a page of a hundred versions is a few milliseconds of work, which would delay every other
 * request. The thread also moves the write-ahead log into the file, which ends with a sync of the disk.
 */
export function startListReader(
  readModel: Pick<ReadModel, 'db' | 'opening'>,
  settings: ListSettings,
  onDamage: () => void,
  timeoutMs = TIMEOUT_MS,
): ListReader {
  const waiting = new Map<number, { settle(answer: ListAnswer | Error): void }>();
  const here = listsInThisThread(readModel, settings);
  let next = 0;
  let thread: Worker | null = null;
  const started = () => (thread ??= start());
  if (readModel.db.path !== IN_MEMORY) started();

  return {
    list: (name, query) => (readModel.db.path === IN_MEMORY ? here.list(name, query) : ask(name, query)),
    async close() {
      const closing = thread;
      thread = null;
      await closing?.terminate();
    },
  };

  function ask<N extends ListName>(name: N, query: ListQuery<N>): Promise<Listed<N>> {
    if (waiting.size >= MAX_WAITING) throw new Problem('list-timeout', 'Too many lists are waiting. Try again.');
    const id = next++;
    const { promise, resolve, reject } = Promise.withResolvers<Listed<N>>();
    const request: ListRequest = { id, path: readModel.db.path, opening: readModel.opening, name, query };
    const settle = (answer: ListAnswer | Error) => {
      clearTimeout(timer);
      waiting.delete(id);
      if (answer instanceof Error) reject(answer);
      else if (request.opening !== readModel.opening) reject(madeAnew());
      else if ('listed' in answer) resolve(answer.listed as Listed<N>);
      else reject(errorOf(answer));
    };
    const timer = setTimeout(giveUp, timeoutMs);
    waiting.set(id, { settle });
    started().postMessage(request);
    return promise;
  }

  function errorOf(answer: Exclude<ListAnswer, { listed: unknown }>): Error {
    if ('problem' in answer) return new Problem(answer.problem.code, answer.problem.detail, answer.problem.fields);
    if (!answer.damaged) return answer.error as Error;
    onDamage();
    return madeAnew(answer.error);
  }

  /** SQLite offers no way here to interrupt a query, so its thread is ended. */
  function giveUp(): void {
    const slow = thread;
    thread = null;
    void slow?.terminate();
    fail(slow, new Problem('list-timeout', `The list takes longer than ${timeoutMs / 1000} s. Narrow it.`));
  }

  function start(): Worker {
    // The sources run as .ts, the build as .js.
    const file = new URL(`./reader-thread${extname(import.meta.url)}`, import.meta.url);
    const worker = new Worker(file, {
      workerData: { settings, path: readModel.db.path, opening: readModel.opening } satisfies ThreadData,
    });
    worker.unref();
    worker.on('message', (answer: ListAnswer) => waiting.get(answer.id)?.settle(answer));
    worker.on('error', (error) => fail(worker, error));
    worker.on('exit', () => fail(worker, new Problem('list-timeout', 'The list was not answered. Try again.')));
    return worker;
  }

  function fail(worker: Worker | null, error: Error): void {
    if (thread !== null && thread !== worker) return; // another thread has taken over
    thread = null;
    for (const { settle } of [...waiting.values()]) settle(error);
  }
}
