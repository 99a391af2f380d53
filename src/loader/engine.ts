import { setTimeout as sleep } from 'node:timers/promises';
import { clause } from '../domain/clause.ts';
import type { LoaderErrorCode, LoaderState, Target } from '../domain/fleet.ts';
import { createBackoff } from './backoff.ts';
import type { Bundle, Lease, LeasedBundle } from './bundle.ts';
import type { Cache } from './cache.ts';
import { failureOf, NotReady } from './failure.ts';
import type { Load, Loaded } from './load.ts';
import type { LoaderLog } from './log.ts';
import type { Position } from './position.ts';
import type { Following, Sighting, Source } from './sources/source.ts';

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

export function initialStatus(state: LoaderState): Status {
  const nothing = { target: null, current: null, error: null, load_ms: null, warm_up_ms: null };
  return { state, since: new Date().toISOString(), stale: false, ...nothing };
}

export interface EngineOptions<M> {
  source: Source;
  load: Load<M>;
  cache: Cache;
  log: LoaderLog;
  /** Called after every change of the status. */
  changed(): void;
  /** How long the source may say nothing before the last good version is served. */
  graceMs?: number;
  /** Of the pauses between attempts: the first and the longest. */
  backoffMs?: [number, number];
  /** How long closing waits for requests that hold a lease. */
  closeMs?: number;
}

export interface Engine<M> {
  status(): Status;
  /** @throws {NotReady} */
  lease(): Lease<M>;
  /** Resolves when something serves. @throws {NotReady} saying why not, after `timeoutMs` */
  ready(timeoutMs: number): Promise<Bundle<M>>;
  close(): Promise<void>;
}

interface Serving<M> {
  leased: LeasedBundle<M>;
  target: Target;
}

const GRACE_MS = 2_000;
const TOUCH_EVERY_MS = 3600_000;
const DRAIN_WARNING_MS = 60_000;
const BACKOFF_MS: [number, number] = [1_000, 60_000];
const CLOSE_MS = 10_000;

/**
 * Keeps the version that is active in memory. The newest target wins; whatever fails, what served before serves on.
 */
export function startEngine<M>(options: EngineOptions<M>): Engine<M> {
  const { source, load, cache, log } = options;
  const { graceMs = GRACE_MS, backoffMs = BACKOFF_MS, closeMs = CLOSE_MS } = options;
  let serving: Serving<M> | null = null;
  let status = initialStatus('starting');
  let position: Position | null = null;
  /** The attempt that is under way. */
  let attempt = new AbortController();
  const stop = new AbortController();
  const served = Promise.withResolvers<void>();
  const pending = new Set<Promise<unknown>>();
  /** What was replaced, and requests still use. */
  const draining = new Set<Target>();
  let keeping = Promise.resolve();
  let sweeping: Promise<void> | null = null;
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
        log.error({}, 'the log is no longer the one that was followed; what serves now serves on');
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
        // Else who starts anew would take the log as it was before for this one.
        if (restored && serving) inBackground(keep(serving.target));
      }
    }
  }

  /** Goes for a target, unless it is the one that is gone for, or was given up on, already. */
  function aim({ target, request_id }: Pick<Following, 'target' | 'request_id'>): void {
    const known = !['starting', 'diverged'].includes(status.state) && status.error?.code !== 'unknown-environment';
    if (known && isSameMove(status.target, target)) return;
    const signal = begin();
    log.info(
      { version: target?.version ?? null, revision: target?.revision, request_id },
      'the registry says what is active',
    );
    if (target === null) {
      set({ state: 'no-target', target, error: null });
    } else if (serving && isSame(serving.target, target)) {
      serving.target = target;
      set({ state: 'ready', target, current: target, error: null });
      inBackground(keep(target));
    } else {
      set({ state: 'fetching', target, error: null });
      inBackground(pursue(target, signal));
    }
  }

  /** Whatever was under way is overtaken. */
  function begin(): AbortSignal {
    attempt.abort();
    attempt = new AbortController();
    return AbortSignal.any([attempt.signal, stop.signal]);
  }

  /** Until it serves, cannot ever, or is overtaken. */
  async function pursue(target: Target, signal: AbortSignal): Promise<void> {
    const backoff = createBackoff(...backoffMs);
    while (!signal.aborted) {
      try {
        if (sweeping) await Promise.allSettled([sweeping]); // it does not know that this version is wanted
        signal.throwIfAborted();
        const loaded = await load(target, signal, (state) => signal.aborted || set({ state }));
        if (await swap(loaded, target, signal, { state: 'ready', error: null })) await keep(target);
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

  /** Serves the last good version while there is nothing better; not if that is what has just failed. */
  async function fallBack(signal: AbortSignal, failed: Target | null = null): Promise<void> {
    const lastGood = serving ? null : await cache.lastGood();
    if (!lastGood || signal.aborted || isSameMove(lastGood.target, failed)) return;
    const { target } = lastGood;
    try {
      const loaded = await load(target, signal, () => {});
      const unheard = status.state === 'starting' && { state: 'ready' as const, target };
      if (!(await swap(loaded, target, signal, failed ? {} : { stale: true, ...unheard }))) return;
      log.warn({ version: target.version }, 'the last good version serves until the registry is heard');
    } catch (err) {
      if (!signal.aborted) log.error({ err, version: target.version }, 'the last good version could not be loaded');
    }
  }

  /** Puts a version in the place of the one that serves; false if it was overtaken. */
  async function swap(
    { leased, load_ms, warm_up_ms }: Loaded<M>,
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
    log.info(
      {
        version: target.version,
        revision: target.revision,
        previous: old?.target.version ?? null,
        load_ms,
        warm_up_ms,
      },
      'a version serves',
    );
    served.resolve();
    if (old) inBackground(drain(old));
    return true;
  }

  /** However long requests take, their model stays: it is only said when they take long. */
  async function drain({ leased, target }: Serving<M>): Promise<void> {
    const warning = setTimeout(
      () => log.warn({ version: target.version }, 'a version is still in use a minute after it was replaced'),
      DRAIN_WARNING_MS,
    );
    warning.unref();
    draining.add(target);
    await leased.retire();
    draining.delete(target);
    clearTimeout(warning);
  }

  /** One after the other: where the disk is slow, an older version must not have the last word. */
  function keep(target: Target): Promise<void> {
    keeping = keeping.then(async () => {
      try {
        if (position) await cache.keepLastGood({ ...position, target });
        const used = [serving?.target, status.target, ...draining].filter((one) => one != null);
        sweeping = cache.sweep([...new Set(used.map(({ manifest_digest }) => manifest_digest))]);
        await sweeping;
      } catch (err) {
        log.warn({ err }, 'the cache could not be written');
      } finally {
        sweeping = null;
      }
    });
    return keeping;
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
    throw new NotReady(`No version serves yet: ${why()}.`);
  }

  async function ready(timeoutMs: number): Promise<Bundle<M>> {
    const waited = new AbortController();
    const late = sleep(timeoutMs, undefined, { signal: AbortSignal.any([waited.signal, stop.signal]) });
    const first = await Promise.race([
      served.promise.then(() => 'served'),
      late.then(
        () => 'late',
        () => 'closed',
      ),
    ]);
    waited.abort();
    if (first === 'served' && serving) return serving.leased.bundle;
    if (stop.signal.aborted) throw new NotReady(`No version serves: ${reasons.stopped}.`);
    throw new NotReady(`No version serves after ${timeoutMs / 1000} s: ${why()}.`);
  }

  function why(): string {
    return clause(status.error?.message ?? reasons[status.state] ?? `the loader is ${status.state}`);
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
    clearInterval(touching);
    await running;
    set({ state: 'stopped' });
    const last = serving;
    serving = null;
    if (last) inBackground(drain(last));
    const waited = sleep(closeMs, undefined, { ref: false });
    await Promise.race([Promise.all(pending), waited]);
  }
}

const reasons: Partial<Record<LoaderState, string>> = {
  starting: 'the registry has not said what is active',
  'no-target': 'none is active',
  diverged:
    'the log is no longer the one that was followed; if it was made anew on purpose, delete "last-good" in the cache folder',
  stopped: 'the loader is closed',
};

/** Whether it is the same version, and the same event that made it active; both null is the same, too. */
function isSameMove(one: Target | null, other: Target | null): boolean {
  if (one === null || other === null) return one === other;
  return one.revision === other.revision && isSame(one, other);
}

function isSame(one: Target, other: Target): boolean {
  return one.version === other.version && one.manifest_digest === other.manifest_digest;
}
