import { Problem } from '../domain/errors.ts';

const MAX_WAITING = 1000;

/** Runs tasks with the same key one after the other, and tasks with different keys concurrently. */
export function keyedQueue() {
  const queues = new Map<string, { tail: Promise<unknown>; waiting: number }>();

  /** @throws {Problem} conflict if too many tasks of the key are waiting */
  return async function enqueue<T>(key: string, task: () => Promise<T>): Promise<T> {
    const queue = queues.get(key) ?? { tail: Promise.resolve(), waiting: 0 };
    if (queue.waiting >= MAX_WAITING) throw new Problem('conflict', `${MAX_WAITING} commands for ${key} are waiting.`);
    queues.set(key, queue);
    queue.waiting++;
    const result = queue.tail.then(task);
    queue.tail = result.then(done, done);
    return result;

    function done(): void {
      queue.waiting--;
      if (queue.waiting === 0) queues.delete(key);
    }
  };
}
