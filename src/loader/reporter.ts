import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '../domain/errors.ts';
import type { LoaderReport } from '../domain/fleet.ts';
import type { LoaderLog } from './log.ts';

/** Sends one report to the registry. */
export type SendReport = (report: LoaderReport, signal: AbortSignal) => Promise<void>;

export interface Reporter {
  /** Sends a report soon. */
  changed(): void;
  /** Sends the last report, for at most two seconds. */
  close(): Promise<void>;
}

const TIMINGS = { everyMs: 30_000 };
const TIMEOUT_MS = 5_000;
const LAST_TIMEOUT_MS = 2_000;

/** Sends the newest state at every change and every 30 seconds, one report at a time. */
export function startReporter(
  report: () => LoaderReport,
  send: SendReport,
  log: LoaderLog,
  { everyMs } = TIMINGS,
): Reporter {
  const stop = new AbortController();
  let wake = Promise.withResolvers<void>();
  let failing = false;
  const running = run();
  return {
    changed: () => wake.resolve(),
    async close() {
      stop.abort();
      wake.resolve();
      await running;
      await send(report(), AbortSignal.timeout(LAST_TIMEOUT_MS)).catch(warn);
    },
  };

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      const woken = wake.promise;
      try {
        await send(report(), AbortSignal.any([stop.signal, AbortSignal.timeout(TIMEOUT_MS)]));
        failing = false;
      } catch (error) {
        if (!stop.signal.aborted) warn(error);
        if (error instanceof Problem && error.code === 'forbidden') return;
      }
      const pause = new AbortController();
      const late = sleep(everyMs * (0.8 + Math.random() * 0.4), undefined, { signal: pause.signal }).catch(() => {});
      await Promise.race([woken, late]);
      pause.abort();
      wake = Promise.withResolvers();
    }
  }

  /** Logs the first of consecutive failures. */
  function warn(error: unknown): void {
    if (!failing) log.warn({ err: error }, 'reports to the registry fail; the loader serves regardless');
    failing = true;
  }
}
