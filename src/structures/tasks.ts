/** Tasks that run at the same time, a limited number of them. */
export interface Tasks {
  /** Starts a task as soon as fewer than the limit run. Throws the first error of a task, if there was one. */
  start(task: () => Promise<void>): Promise<void>;
  /** Waits for all tasks. Throws the first error of one, if there was one. */
  end(): Promise<void>;
}

/** @example const sending = openTasks(4); for await (const part of parts) await sending.start(() => send(part)); await sending.end(); */
export function openTasks(limit: number): Tasks {
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  const check = () => {
    if (failures.length > 0) throw failures[0];
  };
  return {
    async start(task) {
      if (running.size === limit) await Promise.race(running);
      check();
      const run: Promise<void> = task()
        .catch((error: unknown) => void failures.push(error))
        .finally(() => running.delete(run));
      running.add(run);
    },
    async end() {
      await Promise.all(running);
      check();
    },
  };
}
