import type { Logger } from 'pino';
import { Problem } from '../domain/errors.ts';
import type { LoaderReport, LoaderView } from '../domain/fleet.ts';
import type { ReceivedReport } from '../log/report-watch.ts';
import type { Reports } from '../log/reports.ts';
import type { TailState } from '../log/supervise.ts';
import { BoundedMap } from '../structures/bounded-map.ts';

/** The loaders that reported recently; every server on a log knows the same ones. */
export interface Fleet {
  of(model: string): LoaderView[];
  all(): LoaderView[];
  /** Called after each report, and when a loader is removed. */
  onReport(listener: (model: string, environment: string) => void): void;
  /**
   * Stores a loader's report.
   *
   * @throws {Problem} too-many-requests if the model has too many other loaders
   * @throws {Error} within seconds, if NATS does not store it
   */
  report(model: string, instance: string, report: LoaderReport): Promise<void>;
  close(): Promise<void>;
}

export interface FleetOptions {
  reports: Reports;
  log: Logger;
  now?(): number;
  /** The maximum number of loaders, which bounds the memory. */
  limit?: number;
  /** The maximum number of loaders of one model, so that it does not crowd out the others. */
  limitOfModel?: number;
}

const MAX_LOADERS = 10_000;
const MAX_LOADERS_OF_MODEL = 1_000;
/** Ten models fill the fleet; older entries are dropped. */
const MAX_CROWDED = 100;

export function startFleet({
  reports,
  log,
  now = Date.now,
  limit = MAX_LOADERS,
  limitOfModel = MAX_LOADERS_OF_MODEL,
}: FleetOptions): Fleet {
  const { maxAgeMs } = reports;
  /** `until` is the expiry by this server's clock: the bucket drops reports without a message. */
  const live = new Map<string, { view: LoaderView; until: number }>();
  const listeners: ((model: string, environment: string) => void)[] = [];
  /** Models whose further loaders were ignored, logged once each; the empty name stands for all models. */
  const crowded = new BoundedMap<string, true>(MAX_CROWDED);
  let state: TailState | null = null;
  const watch = reports.watch({ report: received, state: stateChanged });

  return {
    of,
    all,
    onReport: (listener) => listeners.push(listener),
    async report(model, instance, report) {
      checkRoom(model, instance);
      await reports.put(model, instance, report);
    },
    close: () => watch.close(),
  };

  function of(model: string): LoaderView[] {
    return all().filter((view) => view.model === model);
  }

  function checkRoom(model: string, instance: string): void {
    if (live.has(`${model}.${instance}`) || of(model).length < limitOfModel) return;
    const retry_after = Math.ceil(maxAgeMs / 1000);
    const detail = `${limitOfModel} loaders of ${model} already report; a loader that is silent for ${retry_after} s is removed.`;
    throw new Problem('too-many-requests', detail, { retry_after });
  }

  function all(): LoaderView[] {
    forget();
    return [...live.values()].map(({ view }) => view);
  }

  function received({ model, instance, report, at, replayed }: ReceivedReport): void {
    const key = `${model}.${instance}`;
    const environment = (report ?? live.get(key)?.view)?.environment;
    if (report === null) live.delete(key);
    else if (hasRoomFor(model, key)) {
      // A report from before this server listened is as old as its NATS timestamp, whose clock may differ from ours.
      const age = replayed ? Math.max(now() - at.getTime(), 0) : 0;
      const view = { model, instance, reported_at: at.toISOString(), ...report };
      live.set(key, { view, until: now() - age + maxAgeMs });
    }
    if (environment !== undefined) for (const listener of listeners) listener(model, environment);
  }

  function hasRoomFor(model: string, key: string): boolean {
    if (live.has(key)) return true;
    if (live.size >= limit) forget();
    return isWithin('', live.size, limit, key) && isWithin(model, of(model).length, limitOfModel, key);
  }

  function isWithin(model: string, count: number, most: number, key: string): boolean {
    if (count < most) {
      crowded.delete(model);
      return true;
    }
    if (!crowded.has(model)) {
      log.warn({ limit: most, loader: key }, 'more loaders report than the limit allows; the further ones are ignored');
    }
    crowded.set(model, true);
    return false;
  }

  function forget(): void {
    for (const [key, { until }] of live) if (until <= now()) live.delete(key);
  }

  function stateChanged(next: TailState, why?: unknown): void {
    if (next !== state)
      log[next === 'live' ? 'info' : 'warn']({ state: next, err: why }, 'the loaders’ reports changed state');
    state = next;
  }
}
