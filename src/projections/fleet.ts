import type { Logger } from 'pino';
import { Problem } from '../domain/errors.ts';
import type { LoaderReport, LoaderView } from '../domain/fleet.ts';
import type { ReceivedReport } from '../log/report-watch.ts';
import type { Reports } from '../log/reports.ts';
import type { TailState } from '../log/supervise.ts';
import { BoundedMap } from '../structures/bounded-map.ts';

/** The loaders that were heard of lately, as any server knows them. */
export interface Fleet {
  of(model: string): LoaderView[];
  all(): LoaderView[];
  /** Told after each word of a loader, with its model and environment. */
  onReport(listener: (model: string, environment: string) => void): void;
  /**
   * Passes on what a loader says.
   *
   * @throws {Problem} too-many-requests where the model has too many other loaders
   * @throws {Error} within seconds, where NATS does not take it
   */
  report(model: string, instance: string, report: LoaderReport): Promise<void>;
  close(): Promise<void>;
}

export interface FleetOptions {
  reports: Reports;
  log: Logger;
  now?(): number;
  /** Loaders at most; memory is bounded, whoever reports. */
  limit?: number;
  /** Loaders of one model at most: it must not crowd out the others. */
  limitOfModel?: number;
}

const MAX_LOADERS = 10_000;
const MAX_LOADERS_OF_MODEL = 1_000;
/** Ten models fill the fleet, and are forgotten as others take their place. */
const MAX_CROWDED = 100;

interface Live {
  view: LoaderView;
  /** By this server's clock: what the bucket forgets, it forgets in silence. */
  until: number;
}

export function startFleet({
  reports,
  log,
  now = Date.now,
  limit = MAX_LOADERS,
  limitOfModel = MAX_LOADERS_OF_MODEL,
}: FleetOptions): Fleet {
  const { maxAgeMs } = reports;
  const live = new Map<string, Live>();
  const listeners: ((model: string, environment: string) => void)[] = [];
  /** Whose loaders were passed over, said once; the empty name stands for all models together. */
  const crowded = new BoundedMap<string, true>(MAX_CROWDED);
  let state: TailState | null = null;
  const watch = reports.watch({ report: heard, state: told });

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
    const detail = `${limitOfModel} loaders of ${model} report already; one that is silent for ${retry_after} s makes room.`;
    throw new Problem('too-many-requests', detail, { retry_after });
  }

  function all(): LoaderView[] {
    forget();
    return [...live.values()].map(({ view }) => view);
  }

  function heard({ model, instance, report, at, replayed }: ReceivedReport): void {
    const key = `${model}.${instance}`;
    const environment = (report ?? live.get(key)?.view)?.environment;
    if (report === null) live.delete(key);
    else if (hasRoomFor(model, key)) {
      // What was said before anybody listened is as old as NATS says, as far as its clock may be believed.
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

  function isWithin(whose: string, count: number, most: number, key: string): boolean {
    if (count < most) {
      crowded.delete(whose);
      return true;
    }
    if (!crowded.has(whose)) {
      log.warn({ limit: most, loader: key }, 'more loaders report than are kept; the further ones are passed over');
    }
    crowded.set(whose, true);
    return false;
  }

  function forget(): void {
    for (const [key, { until }] of live) if (until <= now()) live.delete(key);
  }

  function told(next: TailState, why?: unknown): void {
    if (next !== state) log[next === 'live' ? 'info' : 'warn']({ state: next, err: why }, 'reports of loaders');
    state = next;
  }
}
