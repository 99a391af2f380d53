import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { LoaderReport } from '../domain/fleet.ts';
import { BoundedMap } from '../structures/bounded-map.ts';
import { createLimiter } from '../structures/limiter.ts';
import { nobodyListened } from './append.ts';
import type { Nats } from './connection.ts';
import {
  BUCKET,
  ensureBucket,
  ensureLoaders,
  holdToShare,
  keyOf,
  loaderSubject,
  SHARE,
  type Share,
} from './report-streams.ts';
import { type ReportListener, watchReports } from './report-watch.ts';
import type { Tail } from './supervise.ts';

/** What loaders say of themselves: the last word of each, forgotten after a while, and its changes, kept for auditors. */
export interface Reports {
  /** How long a loader is believed. */
  maxAgeMs: number;
  /** @throws {Error} within seconds, where NATS does not take it */
  put(model: string, instance: string, report: LoaderReport): Promise<void>;
  watch(listener: ReportListener): Tail;
}

export interface ReportsOptions {
  /** Whether to make the bucket and the stream where they are not; a loader may have rights to write only. */
  create?: boolean;
  maxAgeMs?: number;
  share?: Share;
}

const HEARD_FOR_MS = 90_000;
const PUT_DEADLINE_MS = 2_000;
const MAX_REMEMBERED = 10_000;
/** Changes a minute that are kept. What is passed over is kept with the loader's next report, if it still holds then. */
const CHANGES_OF_LOADER = { quota: 30, window: 60 };
/** Room for an activation that 500 loaders follow. */
const CHANGES_OF_MODEL = { quota: 2_000, window: 60 };
/** At most 8 MiB. */
const CHANGES_BETWEEN_LOOKS = 500;

export function openReports(nats: Nats, options: ReportsOptions = {}): Reports {
  const { create = true, maxAgeMs = HEARD_FOR_MS, share = SHARE } = options;
  const js = jetstream(nats.nc, { timeout: PUT_DEADLINE_MS });
  const buckets = new Kvm(js);
  /** By loader: the change that is in the stream already. */
  const told = new BoundedMap<string, string>(MAX_REMEMBERED);
  const ofLoader = createLimiter(CHANGES_OF_LOADER, Date.now);
  const ofModel = createLimiter(CHANGES_OF_MODEL, Date.now);
  let sinceLook = 0;

  return {
    maxAgeMs,
    put(model, instance, report) {
      const key = keyOf(model, instance);
      return within(PUT_DEADLINE_MS, Promise.all([keep(key, report), tellChange(model, key, report)]));
    },
    watch: (listener) => watchReports(nats, prepare, listener),
  };

  async function keep(key: string, report: LoaderReport): Promise<void> {
    const bucket = await buckets.open(BUCKET); // asks nobody
    const send = () => (report.state === 'stopped' ? bucket.delete(key) : bucket.put(key, JSON.stringify(report)));
    await sending(send, () => ensureBucket(nats, maxAgeMs));
  }

  async function tellChange(model: string, key: string, report: LoaderReport): Promise<void> {
    const change = changeOf(report);
    if (told.get(key) === change) return;
    if (!takeChange(model, key)) return;
    const send = () => js.publish(loaderSubject(key), JSON.stringify(report));
    try {
      await sending(send, () => ensureLoaders(nats));
    } catch (error) {
      // Else a loader that tries again while NATS is away would use up its changes.
      giveBack(model, key);
      throw error;
    }
    told.set(key, change);
    // A loader that only writes may not look, let alone purge.
    if (!create || ++sinceLook < CHANGES_BETWEEN_LOOKS) return;
    sinceLook = 0;
    // The report is kept already, and does not wait. Where this fails, later changes lead to the next look.
    holdToShare(nats, share).catch(() => {});
  }

  function takeChange(model: string, key: string): boolean {
    return ofLoader.take(key).allowed && ofModel.take(model).allowed;
  }

  function giveBack(model: string, key: string): void {
    ofLoader.giveBack(key);
    ofModel.giveBack(model);
  }

  /** Where nobody listens there is no stream, or no more: nats has forgotten the bucket when it was started anew. */
  async function sending(send: () => Promise<unknown>, ensure: () => Promise<void>): Promise<void> {
    try {
      await send();
    } catch (error) {
      if (!create || !nobodyListened(error)) throw error;
      await ensure();
      await send();
    }
  }

  async function prepare(): Promise<void> {
    if (!create) return;
    // Without the stream of changes loaders are still heard; whoever puts a change is told what is wrong with it.
    await Promise.all([ensureBucket(nats, maxAgeMs), ensureLoaders(nats).catch(() => {})]);
  }
}

/** What is worth keeping. `since` tells a state from the same one before, of which another server may have been told. */
function changeOf({ state, since, target, current, error }: LoaderReport): string {
  return JSON.stringify([state, since, target, current, error?.code]);
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`NATS did not take the report within ${ms} ms`)), ms);
  try {
    await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
