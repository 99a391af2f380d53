import { setTimeout as sleep } from 'node:timers/promises';
import type { LoaderErrorCode, LoaderState, Target } from '../domain/fleet.ts';
import { createBackoff } from './backoff.ts';
import { type Bundle, createBundle, type Lease, type LeasedBundle } from './bundle.ts';
import type { Cache } from './cache.ts';
import { failureOf } from './failure.ts';
import type { Load, Loaded } from './load.ts';
import type { LoaderLog } from './log.ts';
import type { Position } from './position.ts';
import type { Sighting, Source } from './source.ts';

/** What a loader says of itself. */
export interface Status {
  state: LoaderState;
  since: string;
  stale: boolean;
  target: Target | null;
  current: Target | null;
  error: { code: LoaderErrorCode; message: string; at: string } | null;
  load_ms: number | null;
  warm_up_ms: number | null;
}

export interface EngineOptions<M> {
  source: Source;
  load: Load<M>;
  cache: Cache;
  dispose(model: M): unknown;
  log: LoaderLog;
  /** Called after every change of the status. */
  changed(): void;
  /** How long the source may say nothing before the last good version is served. */
  graceMs?: number;
  /** Of the pauses between attempts: the first and the longest. */
  backoffMs?: [number, number];
}

export interface Engine<M> {
  status(): Status;
  /** @throws {Error} while nothing serves */
  lease(): Lease<M>;
  /** Resolves when something serves. @throws {Error} saying why not, after `timeoutMs` */
  ready(timeoutMs: number): Promise<Bundle<M>>;
  close(): Promise<void>;
}

const GRACE_MS = 2_000;
const TOUCH_EVERY_MS = 3600_000;
const DRAIN_WARNING_MS = 60_000;
/** How long closing waits for requests that hold a lease. */
const CLOSE_TIMEOUT_MS = 10_000;

/**
 * Keeps the version that is active in memory. The newest target wins; whatever fails, what served before serves on.
 */
export function startEngine<M>(options: EngineOptions<M>): Engine<M> {
  const { source, load, cache, dispose, log, graceMs = GRACE_MS, backoffMs = [1_000, 60_000] } = options;
  let serving: { leased: LeasedBundle<M>; target: Target } | null = null;
  let status: Status = {
    state: 'starting',
    since: new Date().toISOString(),
    stale: false,
    target: null,
    current: null,
    error: null,
    load_ms: null,
    warm_up_ms: null,
  };
  let position: Position | null = null;
  /** The attempt that is under way. */
  let attempt = new AbortController();
  const stop = new AbortController();
  const served = Promise.withResolvers<void>();
  const pending = new Set<Promise<unknown>>();
  const touching = setInterval(
    () => serving && inBackground(cache.touch(serving.target.manifest_digest)),
    TOUCH_EVERY_MS,
  );
  touching.unref();
  const running = run().catch((err: unknown) => log.error({ err }, 'the loader follows nothing any more'));

  return { status: () => status, lease, ready, close };

  async function run(): Promise<void> {
    const lastGood = await cache.lastGood().catch(() => null);
    position = lastGood;
    const grace = setTimeout(() => status.state === 'starting' && inBackground(fallBack(begin())), graceMs);
    try {
      for await (const sighting of source.follow(lastGood, stop.signal)) see(sighting);
    } finally {
      clearTimeout(grace);
    }
  }

  function see(sighting: Sighting): void {
    switch (sighting.state) {
      case 'silent':
        set({ stale: true });
        break;
      case 'diverged':
        if (status.state === 'diverged') return;
        attempt.abort();
        log.error({}, 'the log is no longer the one that was followed; what serves now serves on');
        set({ state: 'diverged' });
        break;
      case 'unknown-environment':
        if (status.error?.code === sighting.state) return;
        attempt.abort();
        fail('unknown-environment', 'the registry has no such environment');
        break;
      case 'following':
        position = sighting.position;
        set({ stale: sighting.stale });
        aim(sighting.target);
    }
  }

  /** Goes for a target, unless it is the one that is gone for, or was given up on, already. */
  function aim(target: Target | null): void {
    const known = !['starting', 'diverged'].includes(status.state) && status.error?.code !== 'unknown-environment';
    if (known && status.target?.revision === target?.revision) return;
    const { signal } = begin();
    if (target === null) {
      set({ state: 'no-target', target, error: null });
    } else if (serving && isSame(serving.target, target)) {
      serving.target = target;
      set({ state: 'ready', target, current: target, error: null });
      inBackground(keep(target));
    } else {
      set({ target });
      inBackground(pursue(target, signal));
    }
  }

  /** Whatever was under way is overtaken. */
  function begin(): AbortController {
    attempt.abort();
    attempt = new AbortController();
    return attempt;
  }

  /** Until it serves, cannot ever, or is overtaken. */
  async function pursue(target: Target, signal: AbortSignal): Promise<void> {
    const backoff = createBackoff(...backoffMs);
    while (!signal.aborted) {
      try {
        const loaded = await load(target, signal, (state) => signal.aborted || set({ state }));
        if (await swap(loaded, target, signal)) await keep(target);
        return;
      } catch (error) {
        if (signal.aborted) return;
        const failure = failureOf(error, 'fetch-failed');
        log.error({ err: error, version: target.version, code: failure.code }, 'a version could not be loaded');
        fail(failure.code, failure.message);
        if (!serving) await fallBack({ signal });
        if (failure.permanent) return;
      }
      await backoff.pause(signal);
    }
  }

  /** Serves the last good version while there is nothing better. */
  async function fallBack({ signal }: Pick<AbortController, 'signal'>): Promise<void> {
    const lastGood = await cache.lastGood();
    if (!lastGood || signal.aborted || serving || lastGood.target.revision === status.target?.revision) return;
    const { target } = lastGood;
    try {
      const loaded = await load(target, signal, () => {});
      const { state, error } = status;
      if (!(await swap(loaded, target, signal))) return;
      log.warn({ version: target.version }, 'the last good version serves until the registry is heard');
      set(error ? { state, error } : { target, stale: true });
    } catch (err) {
      if (!signal.aborted) log.error({ err, version: target.version }, 'the last good version could not be loaded');
    }
  }

  /** Puts a version in the place of the one that serves; false if it was overtaken. */
  async function swap({ info, model, load_ms, warm_up_ms }: Loaded<M>, target: Target, signal: AbortSignal) {
    const failed = (err: unknown) => log.error({ err, version: info.version }, 'a version could not be disposed of');
    const leased = createBundle(info, model, { dispose, failed, clock: () => performance.now() });
    if (signal.aborted) {
      await leased.retire();
      return false;
    }
    const old = serving;
    serving = { leased, target };
    set({ state: 'ready', current: target, error: null, load_ms, warm_up_ms });
    log.info({ version: info.version, previous: old?.target.version ?? null, load_ms, warm_up_ms }, 'a version serves');
    served.resolve();
    if (old) inBackground(drain(old.leased, old.target.version));
    return true;
  }

  /** However long requests take, their model stays: it is only said when they take long. */
  async function drain(leased: LeasedBundle<M>, version: string): Promise<void> {
    const warning = setTimeout(
      () => log.warn({ version }, 'a version is still in use a minute after it was replaced'),
      DRAIN_WARNING_MS,
    );
    warning.unref();
    await leased.retire();
    clearTimeout(warning);
  }

  async function keep(target: Target): Promise<void> {
    try {
      if (position) await cache.keepLastGood({ ...position, target });
      await cache.sweep(serving ? [serving.target.manifest_digest] : []);
    } catch (err) {
      log.warn({ err }, 'the cache could not be written');
    }
  }

  function fail(code: LoaderErrorCode, message: string): void {
    set({ state: 'failed', error: { code, message: message.slice(0, 2000), at: new Date().toISOString() } });
  }

  function set(change: Partial<Status>): void {
    const moved = change.state !== undefined && change.state !== status.state;
    const changed = Object.entries(change).some(([name, value]) => status[name as keyof Status] !== value);
    status = { ...status, ...change, ...(moved && { since: new Date().toISOString() }) };
    if (changed) options.changed();
  }

  function lease(): Lease<M> {
    if (serving) return serving.leased.lease();
    throw new Error(`No version serves yet: ${why()}.`);
  }

  async function ready(timeoutMs: number): Promise<Bundle<M>> {
    const waited = new AbortController();
    const late = sleep(timeoutMs, undefined, { signal: waited.signal });
    const first = await Promise.race([
      served.promise.then(() => 'served'),
      late.then(
        () => 'late',
        () => 'closed',
      ),
    ]);
    waited.abort();
    if (first === 'served' && serving) return serving.leased.bundle;
    throw new Error(`No version serves after ${timeoutMs / 1000} s: ${why()}.`);
  }

  function why(): string {
    return status.error?.message ?? reasons[status.state] ?? `the loader is ${status.state}`;
  }

  function inBackground(work: Promise<unknown>): void {
    const settled = work
      .catch((err: unknown) => log.error({ err }, 'the loader failed at something'))
      .finally(() => {
        pending.delete(settled);
      });
    pending.add(settled);
  }

  async function close(): Promise<void> {
    stop.abort();
    attempt.abort();
    clearInterval(touching);
    await running;
    set({ state: 'stopped' });
    const last = serving;
    serving = null;
    if (last) inBackground(drain(last.leased, last.target.version));
    const waited = sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false });
    await Promise.race([Promise.all(pending), waited]);
  }
}

const reasons: Partial<Record<LoaderState, string>> = {
  starting: 'the registry has not said what is active',
  'no-target': 'none is active',
  stopped: 'the loader is closed',
};

function isSame(one: Target, other: Target): boolean {
  return one.version === other.version && one.manifest_digest === other.manifest_digest;
}
