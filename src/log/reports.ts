import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { LoaderReport } from '../domain/fleet.ts';
import { BoundedMap } from '../structures/bounded-map.ts';
import { createLimiter } from '../structures/limiter.ts';
import { isNoResponders } from './append.ts';
import type { Nats } from './connection.ts';
import {
  BUCKET,
  ensureBucket,
  ensureLoaders,
  keyOf,
  loaderSubject,
  SHARE,
  type Share,
  trimToShare,
} from './report-streams.ts';
import { type ReportListener, watchReports } from './report-watch.ts';
import type { Tail } from './supervise.ts';

/** Status reports of loaders. The last one of each expires after a while; changes are kept for audits. */
export interface Reports {
  /** How long a report is valid. */
  maxAgeMs: number;
  /** @throws {Error} within seconds, if NATS does not store the report */
  put(model: string, instance: string, report: LoaderReport): Promise<void>;
  watch(listener: ReportListener): Tail;
}

export interface ReportsOptions {
  /** Whether to create the bucket and the stream if they are missing; a loader may have permission to write only. */
  create?: boolean;
  maxAgeMs?: number;
  share?: Share;
}

const MAX_AGE_MS = 90_000;
const PUT_DEADLINE_MS = 2_000;
const MAX_CACHED = 10_000;
/** Changes kept per minute. A change over the limit is kept with the loader's next report, if it still applies then. */
const LOADER_CHANGES = { quota: 30, window: 60 };
/** Enough for an activation that 500 loaders apply. */
const MODEL_CHANGES = { quota: 2_000, window: 60 };
/** At most 8 MiB of changes. */
const CHANGES_BETWEEN_TRIMS = 500;

export function openReports(nats: Nats, options: ReportsOptions = {}): Reports {
  const { create = true, maxAgeMs = MAX_AGE_MS, share = SHARE } = options;
  const js = jetstream(nats.nc, { timeout: PUT_DEADLINE_MS });
  const buckets = new Kvm(js);
  /** The last change in the stream, by loader. */
  const published = new BoundedMap<string, string>(MAX_CACHED);
  const loaderLimiter = createLimiter(LOADER_CHANGES, Date.now);
  const modelLimiter = createLimiter(MODEL_CHANGES, Date.now);
  let sinceTrim = 0;

  return {
    maxAgeMs,
    put(model, instance, report) {
      const key = keyOf(model, instance);
      return within(PUT_DEADLINE_MS, Promise.all([putReport(key, report), publishChange(model, key, report)]));
    },
    watch: (listener) => watchReports(nats, prepare, listener),
  };

  async function putReport(key: string, report: LoaderReport): Promise<void> {
    const bucket = await buckets.open(BUCKET); // sends no request
    const send = () => (report.state === 'stopped' ? bucket.delete(key) : bucket.put(key, JSON.stringify(report)));
    await sendOrCreate(send, () => ensureBucket(nats, maxAgeMs));
  }

  async function publishChange(model: string, key: string, report: LoaderReport): Promise<void> {
    const change = changeOf(report);
    if (published.get(key) === change) return;
    if (!loaderLimiter.take(key).allowed || !modelLimiter.take(model).allowed) return;
    const send = () => js.publish(loaderSubject(key), JSON.stringify(report));
    try {
      await sendOrCreate(send, () => ensureLoaders(nats));
    } catch (error) {
      // Retries while NATS is unavailable must not count against the limit.
      loaderLimiter.giveBack(key);
      modelLimiter.giveBack(model);
      throw error;
    }
    published.set(key, change);
    // A loader with permission to write only may not purge.
    if (!create || ++sinceTrim < CHANGES_BETWEEN_TRIMS) return;
    sinceTrim = 0;
    // Not awaited: the report is stored already. After a failure, later changes trigger the next attempt.
    trimToShare(nats, share).catch(() => {});
  }

  /** Without responders the stream is missing: it was never created, or it was the bucket in memory and NATS restarted. */
  async function sendOrCreate(send: () => Promise<unknown>, ensure: () => Promise<void>): Promise<void> {
    try {
      await send();
    } catch (error) {
      if (!create || !isNoResponders(error)) throw error;
      await ensure();
      await send();
    }
  }

  async function prepare(): Promise<void> {
    if (!create) return;
    // The bucket works without the stream of changes. A failure to create the stream is reported by `put`.
    await Promise.all([ensureBucket(nats, maxAgeMs), ensureLoaders(nats).catch(() => {})]);
  }
}

/** Returns what identifies a change. `since` tells a state from an earlier, equal one that went to another server. */
function changeOf({ state, since, target, current, error }: LoaderReport): string {
  return JSON.stringify([state, since, target, current, error?.code]);
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(() => timeout.reject(new Error(`NATS did not store the report within ${ms} ms`)), ms);
  try {
    await Promise.race([work, timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}
