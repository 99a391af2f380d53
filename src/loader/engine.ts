import { setTimeout as sleep } from 'node:timers/promises';
import { isSameVersion, type LoaderErrorCode, type Target } from '../domain/fleet.ts';
import { createBackoff } from './backoff.ts';
import type { Cache } from './cache.ts';
import { failureOf, NotReady } from './failure.ts';
import type { Load, LoadResult } from './load.ts';
import type { Lease, LeasedVersion, LoadedVersion } from './loaded-version.ts';
import type { LoaderLog } from './log.ts';
import type { FollowedPosition } from './position.ts';
import type { Following, Sighting, Source } from './sources/source.ts';
import { initialStatus, reasonOf, type Status } from './status.ts';

export interface EngineOptions<M> {
  source: Source;
  load: Load<M>;
  cache: Cache;
  log: LoaderLog;
  /** Called after every change of the status. */
  changed(): void;
  /** Wait for a first sighting before the last good version is loaded. */
  graceMs?: number;
  /** First and longest pause between attempts. */
  backoffMs?: [number, number];
  /** Longest wait of `close` for leases. */
  closeMs?: number;
}

export interface Engine<M> {
  status(): Status;
  /** @throws {NotReady} */
  lease(): Lease<M>;
  /** Resolves when a version serves. @throws {NotReady} with the reason, after `timeoutMs` */
  ready(timeoutMs: number): Promise<LoadedVersion<M>>;
  close(): Promise<void>;
}

interface Serving<M> {
  leased: LeasedVersion<M>;
  target: Target;
}

const GRACE_MS = 2_000;
const TOUCH_EVERY_MS = 3600_000;
const DRAIN_WARNING_MS = 60_000;
const BACKOFF_MS: [number, number] = [1_000, 60_000];
const CLOSE_MS = 10_000;

/** Keeps the active version in memory. The newest target wins. If a load fails, the old version still serves. */
export function startEngine<M>(options: EngineOptions<M>): Engine<M> {
  const { source, load, cache, log } = options;
  const { graceMs = GRACE_MS, backoffMs = BACKOFF_MS, closeMs = CLOSE_MS } = options;
  let serving: Serving<M> | null = null;
  let status = initialStatus('starting');
  let position: FollowedPosition | null = null;
  /** Aborts the current attempt. */
  let attempt = new AbortController();
  const stop = new AbortController();
  const served = Promise.withResolvers<void>();
  const pending = new Set<Promise<unknown>>();
  /** Replaced, but still in use by leases. */
  const draining = new Set<Target>();
  let saving = Promise.resolve();
  let sweeping: Promise<void> | null = null;
  const touch = () => serving && inBackground(cache.touch(serving.target.manifest_digest));
  const touching = setInterval(touch, TOUCH_EVERY_MS).unref();
  const running = run().catch((err: unknown) => log.error({ err }, 'the loader stopped following the registry'));

  return { status: () => status, lease, ready, close };

  async function run(): Promise<void> {
    const lastGood = await cache.lastGood().catch(() => null);
    position = lastGood;
    const grace = setTimeout(() => status.state === 'starting' && inBackground(fallBack(begin())), graceMs);
    try {
      for await (const sighting of source.follow(lastGood, stop.signal)) handle(sighting);
    } finally {
      clearTimeout(grace);
    }
  }

  function handle(sighting: Sighting): void {
    switch (sighting.state) {
      case 'silent':
        set({ stale: true });
        break;
      case 'diverged':
        if (status.state === 'diverged') return;
        log.error({}, 'the log is not the one that was followed before; the current version still serves');
        set({ state: 'diverged' });
        inBackground(fallBack(begin()));
        break;
      case 'unknown-environment':
        if (status.error?.code === sighting.state) return;
        fail('unknown-environment', 'the registry has no such environment');
        inBackground(fallBack(begin()));
        break;
      case 'following': {
        const restored = position !== null && sighting.position.generation !== position.generation;
        position = sighting.position;
        set({ stale: sighting.stale });
        aim(sighting);
        // Otherwise a restart would resume at a position in the log before the restore.
        if (restored && serving) inBackground(saveAndSweep(serving.target));
      }
    }
  }

  /** Starts to load a target, unless it is already being loaded, serves or has failed. */
  function aim({ target, request_id }: Pick<Following, 'target' | 'request_id'>): void {
    const known = !['starting', 'diverged'].includes(status.state) && status.error?.code !== 'unknown-environment';
    if (known && isSameMove(status.target, target)) return;
    const signal = begin();
    log.info({ version: target?.version ?? null, revision: target?.revision, request_id }, 'received a new target');
    if (target === null) {
      set({ state: 'no-target', target, error: null });
    } else if (serving && isSameVersion(serving.target, target)) {
      serving.target = target;
      set({ state: 'ready', target, current: target, error: null });
      inBackground(saveAndSweep(target));
    } else {
      set({ state: 'fetching', target, error: null });
      inBackground(loadUntilServed(target, signal));
    }
  }

  /** Aborts the current attempt and returns the signal of a new one. */
  function begin(): AbortSignal {
    attempt.abort();
    attempt = new AbortController();
    return AbortSignal.any([attempt.signal, stop.signal]);
  }

  /** Retries until the target serves, fails permanently or is overtaken. */
  async function loadUntilServed(target: Target, signal: AbortSignal): Promise<void> {
    const backoff = createBackoff(...backoffMs);
    while (!signal.aborted) {
      try {
        // A sweep could delete this version, which it does not know to be in use.
        if (sweeping) await Promise.allSettled([sweeping]);
        signal.throwIfAborted();
        const result = await load(target, signal, (state) => signal.aborted || set({ state }));
        if (await swap(result, target, signal, { state: 'ready', error: null })) await saveAndSweep(target);
        return;
      } catch (error) {
        if (signal.aborted) return;
        const failure = failureOf(error, 'fetch-failed');
        const { version, revision } = target;
        log.error({ err: error, version, revision, code: failure.code }, 'a version could not be loaded');
        fail(failure.code, failure.message);
        await fallBack(signal, target);
        if (failure.permanent) return;
      }
      await backoff.pause(signal);
    }
  }

  /** Loads the last good version if nothing serves, unless it is the target that has just failed. */
  async function fallBack(signal: AbortSignal, failed: Target | null = null): Promise<void> {
    const lastGood = serving ? null : await cache.lastGood();
    if (!lastGood || signal.aborted || isSameMove(lastGood.target, failed)) return;
    const { target } = lastGood;
    try {
      const result = await load(target, signal, () => {});
      const unconfirmed = status.state === 'starting' && { state: 'ready' as const, target };
      if (!(await swap(result, target, signal, failed ? {} : { stale: true, ...unconfirmed }))) return;
      log.warn({ version: target.version }, 'the last good version serves until the registry confirms a target');
    } catch (err) {
      if (!signal.aborted) log.error({ err, version: target.version }, 'the last good version could not be loaded');
    }
  }

  /** Replaces the version that serves. Returns false if the new one was overtaken. */
  async function swap(
    { leased, load_ms, warm_up_ms }: LoadResult<M>,
    target: Target,
    signal: AbortSignal,
    change: Partial<Status>,
  ): Promise<boolean> {
    if (signal.aborted) {
      await leased.retire();
      return false;
    }
    const old = serving;
    serving = { leased, target };
    set({ ...change, current: target, load_ms, warm_up_ms });
    const { version, revision } = target;
    log.info({ version, revision, previous: old?.target.version ?? null, load_ms, warm_up_ms }, 'a version serves');
    served.resolve();
    if (old) inBackground(drain(old));
    return true;
  }

  /** Waits for all leases, without a limit; only logs a warning if they take long. */
  async function drain({ leased, target }: Serving<M>): Promise<void> {
    const { version } = target;
    const warn = () => log.warn({ version }, 'a version is still in use a minute after it was replaced');
    const warning = setTimeout(warn, DRAIN_WARNING_MS).unref();
    draining.add(target);
    await leased.retire();
    draining.delete(target);
    clearTimeout(warning);
  }

  /** Writes one after another: on a slow disk, an older version must not be written last. */
  function saveAndSweep(target: Target): Promise<void> {
    saving = saving.then(async () => {
      try {
        if (position) await cache.saveLastGood({ ...position, target });
        const used = [serving?.target, status.target, ...draining].filter((one) => one != null);
        sweeping = cache.sweep([...new Set(used.map(({ manifest_digest }) => manifest_digest))]);
        await sweeping;
      } catch (err) {
        log.warn({ err }, 'the cache could not be written');
      } finally {
        sweeping = null;
      }
    });
    return saving;
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
    throw new NotReady(`No version serves yet: ${reasonOf(status)}.`);
  }

  async function ready(timeoutMs: number): Promise<LoadedVersion<M>> {
    const waited = new AbortController();
    const signal = AbortSignal.any([waited.signal, stop.signal]);
    await Promise.race([served.promise, sleep(timeoutMs, undefined, { signal }).catch(() => {})]);
    waited.abort();
    if (serving) return serving.leased.loaded;
    if (stop.signal.aborted) throw new NotReady('No version serves: the loader is closed.');
    throw new NotReady(`No version serves after ${timeoutMs / 1000} s: ${reasonOf(status)}.`);
  }

  function inBackground(work: Promise<unknown>): void {
    const settled = work
      .catch((err: unknown) => log.error({ err }, 'a background task of the loader failed'))
      .finally(() => void pending.delete(settled));
    pending.add(settled);
  }

  async function close(): Promise<void> {
    stop.abort();
    clearInterval(touching);
    await running;
    set({ state: 'stopped' });
    const last = serving;
    serving = null;
    if (last) inBackground(drain(last));
    await Promise.race([Promise.all(pending), sleep(closeMs, undefined, { ref: false })]);
  }
}

/** Whether both are the same version, activated by the same event; or both null. */
function isSameMove(one: Target | null, other: Target | null): boolean {
  if (one === null || other === null) return one === other;
  return one.revision === other.revision && isSameVersion(one, other);
}
