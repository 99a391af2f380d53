import type { LogPosition } from '../log/identity.ts';

/** Those who wait until the read model has a position. */
export interface Waiters {
  /** Waits until a condition on the position holds; returns whether it did in time. */
  until(holds: (position: LogPosition) => boolean): Promise<boolean>;
  /** Checks every condition again: call it when the position has changed. */
  moved(): void;
}

const TIMEOUT_MS = 5_000;

export function createWaiters(position: () => LogPosition): Waiters {
  const waiting = new Set<{ holds(position: LogPosition): boolean; settle(held: boolean): void }>();
  return { until, moved };

  async function until(holds: (position: LogPosition) => boolean): Promise<boolean> {
    if (holds(position())) return true;
    return new Promise((resolve) => {
      const waiter = {
        holds,
        settle(held: boolean) {
          clearTimeout(timer);
          waiting.delete(waiter);
          resolve(held);
        },
      };
      const timer = setTimeout(() => waiter.settle(false), TIMEOUT_MS);
      waiting.add(waiter);
    });
  }

  function moved(): void {
    for (const waiter of waiting) if (waiter.holds(position())) waiter.settle(true);
  }
}
