import { keyedQueue } from '../structures/keyed-queue.ts';

/** Who may write to an unfinished upload: the newest request, after those before it have ended. */
export interface UploadTurns {
  /** Ends the requests of the upload, waits until they have stopped, and then runs the task. */
  next<T>(name: string, end: () => void, task: () => Promise<T>): Promise<T>;
  /** Runs a task at once that writes to a file of its own. */
  beside<T>(name: string, end: () => void, task: () => Promise<T>): Promise<T>;
  /** Runs a step of a task that `beside` runs while no other writes to the upload. */
  queue<T>(name: string, step: () => Promise<T>): Promise<T>;
  /** Whether no other request of the upload runs or waits. */
  isOnly(name: string): boolean;
  isBusy(name: string): boolean;
}

/** The requests of one upload. */
interface Line {
  /** Ends each request that runs or waits. */
  ends: Set<() => void>;
  /** The tasks that run beside. */
  beside: Set<Promise<unknown>>;
}

export function createUploadTurns(): UploadTurns {
  const lines = new Map<string, Line>();
  const queue = keyedQueue();

  return {
    queue,

    next: (name, end, task) =>
      inLine(name, end, async (line) => {
        for (const other of line.ends) if (other !== end) other();
        await Promise.allSettled(line.beside);
        return queue(name, task);
      }),

    beside: (name, end, task) =>
      inLine(name, end, async (line) => {
        const running = task();
        line.beside.add(running);
        return running.finally(() => line.beside.delete(running));
      }),

    isOnly: (name) => lines.get(name)?.ends.size === 1,
    isBusy: (name) => lines.has(name),
  };

  async function inLine<T>(name: string, end: () => void, task: (line: Line) => Promise<T>): Promise<T> {
    const line = lines.get(name) ?? { ends: new Set(), beside: new Set() };
    lines.set(name, line);
    line.ends.add(end);
    try {
      return await task(line);
    } finally {
      line.ends.delete(end);
      if (line.ends.size === 0) lines.delete(name);
    }
  }
}
