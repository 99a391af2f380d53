import fc from 'fast-check';
import { describe, expect, it, onTestFinished, test, vi } from 'vitest';
import type { LoaderErrorCode, Target } from '../../src/domain/fleet.ts';
import { Manifest } from '../../src/domain/manifest.ts';
import { type Cache, openCache } from '../../src/loader/cache.ts';
import { type EngineOptions, startEngine } from '../../src/loader/engine.ts';
import { LoadFailure } from '../../src/loader/failure.ts';
import { filesIn } from '../../src/loader/files.ts';
import type { Load, LoadResult, Phase } from '../../src/loader/load.ts';
import { createLoadedVersion } from '../../src/loader/loaded-version.ts';
import type { FollowedPosition } from '../../src/loader/position.ts';
import type { Sighting, Source } from '../../src/loader/sources/source.ts';
import { until } from '../log/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { digestOf, targetOf } from '../support/loaders.ts';
import { silent } from './support.ts';

/** Lets everything that is ready run. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

const at = (revision: number): FollowedPosition => ({
  generation: 0,
  epoch: '5f70a1b2',
  revision,
  id: `at-${revision}`,
});

/** A sighting of a target. Its position is the head of the log. */
function following(target: Target | null, more: { stale?: boolean; revision?: number } = {}): Sighting {
  const { stale = false, revision = target?.revision ?? 1 } = more;
  return { state: 'following', position: at(revision), target, stale };
}

/** A source that yields the test's sightings one by one. */
function scriptedSource() {
  const waiting: { sighting: Sighting; handled: () => void }[] = [];
  let wake = () => {};
  let held: FollowedPosition | null | undefined;
  const source: Source = {
    async *follow(from, signal) {
      held = from;
      signal.addEventListener('abort', () => wake());
      for (;;) {
        const next = waiting.shift();
        if (next) {
          yield next.sighting;
          next.handled();
        } else if (signal.aborted) return;
        else {
          const { promise, resolve } = Promise.withResolvers<void>();
          wake = resolve;
          await promise;
        }
      }
    },
  };
  /** Resolves when the sighting was handled. */
  const say = (sighting: Sighting) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.push({ sighting, handled: resolve });
    wake();
    return promise;
  };
  return { source, say, held: () => held };
}

interface FakeModel {
  version: string;
  disposals: number;
}

/** One call of `load`, which the test ends. */
interface Attempt {
  target: Target;
  signal: AbortSignal;
  /** Whether the call has not ended yet. */
  open: boolean;
  entered(phase: Phase): void;
  succeed(): FakeModel;
  fail(error: unknown): void;
}

type Dispose = (model: FakeModel) => unknown;

function loadedAs({ version, manifest_digest }: Target, model: FakeModel, dispose: Dispose): LoadResult<FakeModel> {
  const manifest = Manifest.parse({ artifacts: [{ path: 'model.txt', digest: digestOf('bytes'), size: 5 }] });
  const info = { model: 'fraud', version, manifest, manifest_digest };
  const hooks = { dispose, failed() {}, clock: () => performance.now() };
  return { leased: createLoadedVersion(info, filesIn('/nowhere'), model, hooks), load_ms: 12, warm_up_ms: 3 };
}

function scriptedLoad(dispose: Dispose = (model) => model.disposals++) {
  const attempts: Attempt[] = [];
  const load: Load<FakeModel> = (target, signal, entered) => {
    const { promise, resolve, reject } = Promise.withResolvers<LoadResult<FakeModel>>();
    const attempt: Attempt = {
      target,
      signal,
      open: true,
      entered,
      succeed() {
        attempt.open = false;
        const model = { version: target.version, disposals: 0 };
        resolve(loadedAs(target, model, dispose));
        return model;
      },
      fail(error) {
        attempt.open = false;
        reject(error);
      },
    };
    attempts.push(attempt);
    entered('fetching');
    return promise;
  };
  /** Waits for the attempt with this number. */
  const nth = async (number: number): Promise<Attempt> => {
    await until(() => attempts.length >= number);
    return attempts[number - 1]!;
  };
  return { load, attempts, nth };
}

const openedCache = async () =>
  openCache({ folder: await temporaryFolder(), model: 'fraud', environment: 'production', limit: 1e9 });

async function started(options: Partial<EngineOptions<FakeModel>> = {}, lastGood?: Target) {
  const cache = options.cache ?? (await openedCache());
  if (lastGood) await cache.saveLastGood({ ...at(lastGood.revision), target: lastGood });
  const { source, say, held } = scriptedSource();
  const { load, attempts, nth } = scriptedLoad();
  const states: string[] = [];
  let changes = 0;
  const engine = startEngine<FakeModel>({
    source,
    load,
    log: silent,
    changed() {
      changes++;
      const { state } = engine.status();
      if (states.at(-1) !== state) states.push(state);
    },
    graceMs: 3600_000,
    backoffMs: [1, 5],
    closeMs: 50,
    ...options,
    cache,
  });
  onTestFinished(() => engine.close());
  const state = () => engine.status().state;
  const served = () => engine.status().current?.version ?? null;
  /** Yields a sighting and completes its load. */
  const serve = async (target: Target) => {
    const before = attempts.length;
    await say(following(target));
    const model = (await nth(before + 1)).succeed();
    await until(() => state() === 'ready' && engine.status().current?.revision === target.revision);
    return model;
  };
  return { engine, cache, say, held, attempts, nth, state, states, served, serve, changes: () => changes };
}

const [one, two, three] = [targetOf('1.0.0', 3), targetOf('1.1.0', 5), targetOf('1.2.0', 8)];
const failure = (code: LoaderErrorCode) => new LoadFailure(code, `because of ${code}`);
const transient = ['fetch-failed', 'cache-full', 'hydrate-failed', 'load-timeout'] as const;
const permanent = ['digest-mismatch', 'runtime-mismatch', 'golden-mismatch'] as const;

describe('loading a target', () => {
  it('reports each step', async () => {
    const { engine, say, nth, states, served } = await started();
    expect(engine.status()).toMatchObject({ state: 'starting', target: null, current: null, error: null });
    await say(following(one));
    const attempt = await nth(1);
    expect(engine.status()).toMatchObject({ state: 'fetching', target: one, current: null });
    attempt.entered('loading');
    attempt.entered('warming-up');
    attempt.succeed();
    await engine.ready(5_000);
    expect(engine.status()).toMatchObject({ state: 'ready', target: one, current: one, load_ms: 12, warm_up_ms: 3 });
    expect(served()).toBe('1.0.0');
    expect(states).toEqual(['fetching', 'loading', 'warming-up', 'ready']);
    expect(engine.lease()).toMatchObject({ version: '1.0.0', model: { version: '1.0.0', disposals: 0 } });
  });

  it('happens once, however often the target is reported', async () => {
    const { say, attempts, serve, changes } = await started();
    await serve(one);
    const before = changes();
    for (let revision = 3; revision < 9; revision++) await say(following(one, { revision }));
    expect([attempts.length, changes()]).toEqual([1, before]);
  });

  it('ends in a swap, and the old version is disposed of after its last request', async () => {
    const { engine, serve } = await started();
    const old = await serve(one);
    const lease = engine.lease();
    const fresh = await serve(two);
    expect(engine.lease().model).toBe(fresh);
    expect([lease.model, old.disposals]).toEqual([old, 0]);
    lease.release();
    await until(() => old.disposals === 1);
    expect(fresh.disposals).toBe(0);
  });

  it('is aborted by another target, and a late result is disposed of', async () => {
    const { say, nth, served, state } = await started();
    await say(following(one));
    const late = await nth(1);
    await say(following(two));
    expect(late.signal.aborted).toBe(true);
    const fresh = (await nth(2)).succeed();
    await until(() => served() === '1.1.0');
    const model = late.succeed();
    await until(() => model.disposals === 1);
    late.entered('loading');
    expect([served(), state(), fresh.disposals]).toEqual(['1.1.0', 'ready', 0]);
  });

  it('is aborted even if the overtaken load ends first', async () => {
    const { say, nth, served, states } = await started();
    await say(following(one));
    await say(following(two));
    const model = (await nth(1)).succeed();
    await until(() => model.disposals === 1);
    expect(served()).toBeNull();
    (await nth(2)).succeed();
    await until(() => served() === '1.1.0');
    expect(states.filter((state) => state === 'ready')).toEqual(['ready']);
  });

  it('is skipped if the version already serves, under another revision', async () => {
    const { engine, cache, say, attempts, nth, serve } = await started();
    const model = await serve(one);
    await say(following(two));
    // Before that, the sighting would only be replaced.
    const overtaken = await nth(2);
    const back = { ...one, revision: 6 };
    await say(following(back));
    await until(() => overtaken.signal.aborted);
    expect(engine.status()).toMatchObject({ state: 'ready', target: back, current: back, error: null });
    expect([attempts.length, model.disposals]).toEqual([2, 0]);
    await until(async () => (await cache.lastGood())?.target.revision === 6);
  });

  it('happens for another version with the same manifest', async () => {
    const { engine, serve } = await started();
    const first = await serve(one);
    const twin = { ...two, manifest_digest: one.manifest_digest };
    await serve(twin);
    expect(engine.lease().version).toBe('1.1.0');
    await until(() => first.disposals === 1);
  });

  it('happens again if a restored log has another version at the same revision', async () => {
    const { say, nth, serve, served } = await started();
    await serve(one);
    const other = { ...two, revision: one.revision };
    await say({ state: 'following', position: { ...at(3), generation: 1 }, target: other, stale: false });
    (await nth(2)).succeed();
    await until(() => served() === '1.1.0');
  });
});

describe('a target that cannot be loaded', () => {
  test.each(transient)('is retried after %s', async (code) => {
    const { engine, say, nth, served, states, serve } = await started();
    await serve(one);
    await say(following(two));
    for (const number of [2, 3, 4]) {
      (await nth(number)).fail(failure(code));
      await nth(number + 1);
      const error = { code, message: `because of ${code}`, at: expect.stringMatching(/Z$/) };
      expect(engine.status()).toMatchObject({ target: two, current: one, error });
    }
    (await nth(5)).succeed();
    await until(() => served() === '1.1.0');
    expect(engine.status()).toMatchObject({ state: 'ready', error: null });
    const again = ['failed', 'fetching'];
    expect(states).toEqual(['fetching', 'ready', 'fetching', ...again, ...again, ...again, 'ready']);
  });

  test.each(permanent)('is not retried after %s until the environment is moved', async (code) => {
    const { engine, say, attempts, nth, state, served, serve } = await started();
    await serve(one);
    await say(following(two));
    (await nth(2)).fail(failure(code));
    await until(() => state() === 'failed');
    for (let revision = 5; revision < 9; revision++) await say(following(two, { revision }));
    await turn();
    expect(engine.status()).toMatchObject({ state: 'failed', target: two, current: one, error: { code } });
    expect(engine.lease().version).toBe('1.0.0');
    expect(attempts.length).toBe(2);
    await say(following({ ...two, revision: 9 }));
    (await nth(3)).succeed();
    await until(() => served() === '1.1.0');
    expect(engine.status()).toMatchObject({ state: 'ready', error: null });
  });

  it('is reported with what was thrown, also if that is not an error', async () => {
    const { engine, say, nth } = await started();
    await say(following(one));
    for (const [number, thrown] of [new TypeError('x'.repeat(5_000)), 'text', undefined].entries()) {
      (await nth(number + 1)).fail(thrown);
      await nth(number + 2);
      expect(engine.status().error!.code).toBe('fetch-failed');
      expect(engine.status().error!.message.length).toBeLessThanOrEqual(2_000);
    }
  });

  it('is no longer reported when another target is loaded', async () => {
    const { engine, say, nth, state, serve } = await started();
    await serve(one);
    await say(following(two));
    (await nth(2)).fail(failure('golden-mismatch'));
    await until(() => state() === 'failed');
    await say(following(three));
    await nth(3);
    expect(engine.status()).toMatchObject({ state: 'fetching', target: three, error: null });
  });
});

describe('if nothing is active', () => {
  it('the version that served before still serves', async () => {
    const { engine, say, attempts, serve } = await started();
    const model = await serve(one);
    await say(following(null, { revision: 4 }));
    expect(engine.status()).toMatchObject({ state: 'no-target', target: null, current: one });
    expect(engine.lease().model).toBe(model);
    await say(following({ ...one, revision: 6 }));
    expect(engine.status()).toMatchObject({ state: 'ready', current: { ...one, revision: 6 } });
    expect([attempts.length, model.disposals]).toEqual([1, 0]);
  });

  it('a load is aborted', async () => {
    const { engine, say, nth } = await started();
    await say(following(one));
    await say(following(null, { revision: 4 }));
    const attempt = await nth(1);
    expect(attempt.signal.aborted).toBe(true);
    const model = attempt.succeed();
    await until(() => model.disposals === 1);
    expect(engine.status()).toMatchObject({ state: 'no-target', current: null });
    await expect(engine.ready(1)).rejects.toThrow('no version is active');
    expect(() => engine.lease()).toThrow('no version is active');
  });

  it('the last good version is not loaded', async () => {
    const { say, state, attempts } = await started({ graceMs: 1 }, one);
    await say(following(null));
    await turn();
    expect([state(), attempts.filter(({ signal }) => !signal.aborted)]).toEqual(['no-target', []]);
  });
});

describe('a diverged log', () => {
  it('aborts a load; the old version still serves, and following continues when the log is back', async () => {
    const { engine, say, attempts, nth, serve } = await started();
    const model = await serve(one);
    await say(following(two));
    // Before that, the load still waits for the sweep, and would not begin at all.
    const overtaken = await nth(2);
    await say({ state: 'diverged' });
    await say({ state: 'diverged' });
    expect(overtaken.signal.aborted).toBe(true);
    expect(engine.status()).toMatchObject({ state: 'diverged', current: one });
    expect(engine.lease().model).toBe(model);
    await say(following(two));
    (await nth(3)).succeed();
    await until(() => engine.status().state === 'ready');
    expect(engine.status()).toMatchObject({ current: two });
    await say({ state: 'diverged' });
    await say(following(two));
    expect(engine.status()).toMatchObject({ state: 'ready', current: two });
    expect(attempts.length).toBe(3);
  });

  it('at the start makes the last good version serve', async () => {
    const { engine, say, nth, state, served, held } = await started({}, one);
    await say({ state: 'diverged' });
    expect(held()).toMatchObject({ revision: 3, id: 'at-3' });
    (await nth(1)).succeed();
    await until(() => served() === '1.0.0');
    expect(engine.status()).toMatchObject({ state: 'diverged', stale: true, current: one });
    await say({ state: 'diverged' });
    await say(following(one));
    expect([state(), engine.status().stale]).toEqual(['ready', false]);
  });

  it('while the first target is loaded makes the last good version serve', async () => {
    const { say, nth, state, served } = await started({}, one);
    await say(following(two));
    await say({ state: 'diverged' });
    expect((await nth(1)).signal.aborted).toBe(true);
    const attempt = await nth(2);
    expect(attempt.target).toEqual(one);
    attempt.succeed();
    await until(() => served() === '1.0.0');
    expect(state()).toBe('diverged');
  });
});

describe('an unknown environment', () => {
  const unknown: Sighting = { state: 'unknown-environment' };

  it('is an error; the old version still serves', async () => {
    const { engine, say, serve } = await started();
    await serve(one);
    await say(unknown);
    const { error } = engine.status();
    expect(engine.status()).toMatchObject({ state: 'failed', current: one, error: { code: 'unknown-environment' } });
    await say(unknown);
    expect(engine.status().error).toBe(error);
    await say(following(one));
    expect(engine.status()).toMatchObject({ state: 'ready', current: one, error: null });
  });

  it('at the start makes the last good version serve', async () => {
    const { engine, say, nth, served } = await started({}, one);
    await say(unknown);
    (await nth(1)).succeed();
    await until(() => served() === '1.0.0');
    const error = { code: 'unknown-environment' };
    expect(engine.status()).toMatchObject({ state: 'failed', current: one, error });
  });

  it('that appears later is followed, however often it is reported during the load', async () => {
    const { say, attempts, nth, served } = await started();
    await say(unknown);
    for (let revision = 3; revision < 9; revision++) await say(following(one, { revision }));
    expect(attempts.length).toBe(1);
    (await nth(1)).succeed();
    await until(() => served() === '1.0.0');
  });
});

describe('the last good version', () => {
  it('serves if the registry is silent at first, and is stale until the registry confirms it', async () => {
    const { engine, say, attempts, nth, held } = await started({ graceMs: 1 }, one);
    const attempt = await nth(1);
    expect(engine.status()).toMatchObject({ state: 'starting', stale: false });
    const model = attempt.succeed();
    await engine.ready(5_000);
    expect(held()).toMatchObject(at(3));
    expect(engine.status()).toMatchObject({ state: 'ready', stale: true, target: one, current: one });
    await say(following(one));
    expect(engine.status()).toMatchObject({ state: 'ready', stale: false, target: one, current: one });
    expect([attempts.length, model.disposals]).toEqual([1, 0]);
  });

  it('is replaced by the registry’s target', async () => {
    const { engine, nth, serve } = await started({ graceMs: 1 }, one);
    const model = (await nth(1)).succeed();
    await engine.ready(5_000);
    await serve(two);
    expect(engine.status()).toMatchObject({ stale: false, current: two });
    await until(() => model.disposals === 1);
  });

  it('is not loaded further when the registry reports a target', async () => {
    const { say, nth, served } = await started({ graceMs: 1 }, one);
    const attempt = await nth(1);
    await say(following(two));
    expect(attempt.signal.aborted).toBe(true);
    const model = attempt.succeed();
    await until(() => model.disposals === 1);
    (await nth(2)).succeed();
    await until(() => served() === '1.1.0');
  });

  test.each(['golden-mismatch', 'fetch-failed'] as const)('serves if the first target fails with %s', async (code) => {
    const { engine, say, nth, served, state } = await started({ backoffMs: [3600_000, 3600_000] }, one);
    await say(following(two));
    (await nth(1)).fail(failure(code));
    await until(() => state() === 'failed');
    const { since } = engine.status();
    const attempt = await nth(2);
    expect(attempt.target).toEqual(one);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 });
    onTestFinished(() => void vi.useRealTimers());
    attempt.succeed();
    await until(() => served() === '1.0.0');
    expect(engine.status()).toMatchObject({ state: 'failed', since, target: two, current: one, error: { code } });
    await say(following(two));
    expect(state()).toBe('failed');
  });

  it('is not loaded if it is the target that failed', async () => {
    const { say, attempts, nth, state } = await started({}, one);
    await say(following(one));
    (await nth(1)).fail(failure('digest-mismatch'));
    await until(() => state() === 'failed');
    await turn();
    expect(attempts.length).toBe(1);
  });

  it('is not loaded if its file is missing or invalid', async () => {
    const { engine, attempts, state } = await started({ graceMs: 1 });
    await expect(engine.ready(50)).rejects.toThrow('No version serves after 0.05 s');
    expect([state(), attempts.length]).toEqual(['starting', 0]);
  });

  it('does not stop the loader if it cannot be loaded either', async () => {
    const { say, nth, served } = await started({ graceMs: 1 }, one);
    (await nth(1)).fail(failure('digest-mismatch'));
    await say(following(two));
    (await nth(2)).fail(failure('fetch-failed'));
    (await nth(3)).fail(failure('digest-mismatch'));
    (await nth(4)).succeed();
    await until(() => served() === '1.1.0');
  });

  it('is the version that serves, also on a slow disk', async () => {
    const cache = await openedCache();
    const slow = Promise.withResolvers<void>();
    const kept: string[] = [];
    const slowly: Cache = {
      ...cache,
      async saveLastGood(lastGood) {
        if (lastGood.target.version === '1.0.0') await slow.promise;
        await cache.saveLastGood(lastGood);
        kept.push(lastGood.target.version);
      },
    };
    const { serve } = await started({ cache: slowly });
    await serve(one);
    await serve(two);
    await turn();
    slow.resolve();
    await until(() => kept.length === 2);
    expect(await cache.lastGood()).toMatchObject({ ...at(5), target: two });
  });

  it('is saved again after a restore that moves nothing', async () => {
    const { cache, say, serve, attempts } = await started();
    await serve(one);
    await say({ state: 'following', position: { ...at(3), generation: 1 }, target: one, stale: false });
    await until(async () => (await cache.lastGood())?.generation === 1);
    expect(await cache.lastGood()).toMatchObject({ target: one });
    expect(attempts.length).toBe(1);
  });

  it('need not be saved: a version serves if the cache cannot be written to', async () => {
    const failing = async () => {
      throw failure('cache-full');
    };
    const cache = { ...(await openedCache()), saveLastGood: failing, sweep: failing };
    const { serve, state } = await started({ cache });
    await serve(one);
    await serve(two);
    expect(state()).toBe('ready');
  });

  it('is not loaded during a sweep, which does not know that it is in use', async () => {
    const cache = await openedCache();
    const swept = Promise.withResolvers<void>();
    const { say, attempts, nth, serve, served } = await started({ cache: { ...cache, sweep: () => swept.promise } });
    await serve(one);
    await until(async () => (await cache.lastGood())?.target.version === '1.0.0');
    await turn();
    await say(following(two));
    await say(following(three));
    await turn();
    expect(attempts.length).toBe(1);
    swept.resolve();
    (await nth(2)).succeed();
    await until(() => served() === '1.2.0');
    expect(attempts.length).toBe(2);
  });

  it('stays in the cache, and so do versions that requests still use', async () => {
    const cache = await openedCache();
    const spared: string[][] = [];
    const sweep = async (inUse: readonly string[]) => void spared.push([...inUse]);
    const { engine, serve } = await started({ cache: { ...cache, sweep } });
    await serve(one);
    const lease = engine.lease();
    await serve(two);
    await until(() => spared.length === 2);
    expect(spared[1]!.toSorted()).toEqual([one.manifest_digest, two.manifest_digest].toSorted());
    lease.release();
    await serve(three);
    await until(() => spared.length === 3);
    expect(spared[2]).toContain(three.manifest_digest);
    expect(spared[2]).not.toContain(one.manifest_digest);
  });
});

describe('stale', () => {
  it('is true if the version may not be the active one', async () => {
    const { engine, say, serve } = await started();
    await serve(one);
    const stale = () => [engine.status().state, engine.status().stale];
    await say({ state: 'silent' });
    expect(stale()).toEqual(['ready', true]);
    await say(following(one));
    expect(stale()).toEqual(['ready', false]);
    await say(following(one, { stale: true }));
    expect(stale()).toEqual(['ready', true]);
    await say(following(null, { revision: 4, stale: true }));
    expect(stale()).toEqual(['no-target', true]);
    await say(following(null, { revision: 4 }));
    expect(stale()).toEqual(['no-target', false]);
  });
});

describe('since', () => {
  it('changes only with the state', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const { engine, say, nth, state } = await started();
    const later = () => vi.setSystemTime(Date.now() + 1_000);
    const since: Record<string, string> = { starting: engine.status().since };
    const seen = () => engine.status().since;
    later();
    await say(following(one));
    expect(seen()).not.toBe(since.starting);
    since.fetching = seen();
    later();
    await say(following(two));
    expect([state(), seen()]).toEqual(['fetching', since.fetching]);
    (await nth(2)).succeed();
    await until(() => state() === 'ready');
    since.ready = seen();
    expect(since.ready > since.fetching!).toBe(true);
    later();
    await say({ state: 'silent' });
    await say(following({ ...two, revision: 7 }));
    expect([state(), seen()]).toEqual(['ready', since.ready]);
  });
});

describe('closing', () => {
  it('disposes of the model after the last request', async () => {
    const { engine, serve, state } = await started({ closeMs: 60_000 });
    const model = await serve(one);
    const lease = engine.lease();
    let closed = false;
    const closing = engine.close().then(() => {
      closed = true;
    });
    await until(() => state() === 'stopped');
    await turn();
    expect([closed, model.disposals]).toEqual([false, 0]);
    expect(() => engine.lease()).toThrow('closed');
    lease.release();
    await closing;
    expect(model.disposals).toBe(1);
  });

  it('does not wait for ever, and does not dispose of a model in use', async () => {
    const { engine, serve } = await started({ closeMs: 1 });
    const model = await serve(one);
    const lease = engine.lease();
    await engine.close();
    expect(model.disposals).toBe(0);
    lease.release();
    await until(() => model.disposals === 1);
  });

  it('aborts a load and disposes of its result', async () => {
    const { engine, say, nth, state } = await started({ closeMs: 60_000 });
    await say(following(one));
    const attempt = await nth(1);
    const closing = engine.close();
    await until(() => attempt.signal.aborted);
    const model = attempt.succeed();
    await closing;
    expect([model.disposals, state()]).toEqual([1, 'stopped']);
  });

  it('ignores targets that are reported in the meantime', async () => {
    const { engine, say, attempts, serve, state } = await started();
    await serve(one);
    void say(following(two));
    await engine.close();
    await turn();
    expect(attempts.slice(1).filter(({ signal }) => !signal.aborted)).toEqual([]);
    expect(state()).toBe('stopped');
  });

  it('ends the pause before the next attempt', async () => {
    const { engine, say, nth, state } = await started({ backoffMs: [3600_000, 3600_000], closeMs: 3600_000 });
    await say(following(one));
    (await nth(1)).fail(failure('fetch-failed'));
    await until(() => state() === 'failed');
    await engine.close();
  });

  it('rejects calls that wait for a version', async () => {
    const { engine } = await started();
    const waiting = engine.ready(3600_000);
    waiting.catch(() => {});
    await engine.close();
    await expect(waiting).rejects.toThrow('closed');
  });

  it('has no further effect the second time', async () => {
    const { engine, serve } = await started();
    const model = await serve(one);
    await Promise.all([engine.close(), engine.close()]);
    await engine.close();
    expect(model.disposals).toBe(1);
  });
});

describe('any sequence of sightings and results', () => {
  const steps = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('target' as const), version: fc.nat({ max: 3 }) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom('none' as const, 'diverged', 'unknown-environment', 'silent') }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constantFrom('succeed' as const, 'break', 'refuse'), which: fc.nat() }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('lease' as const, 'release', 'turn') }) },
  );

  it('ends with the newest target, and disposes of every model once and never in use', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 30 }), async (history) => {
        const { source, say } = scriptedSource();
        const models: FakeModel[] = [];
        const leases: { model: FakeModel; release(): void }[] = [];
        const wrong: string[] = [];
        const { load, attempts } = scriptedLoad((model) => {
          if (++model.disposals > 1) wrong.push(`${model.version} was disposed of twice`);
          if (leases.some((lease) => lease.model === model)) wrong.push(`${model.version} was disposed of in use`);
        });
        const engine = startEngine<FakeModel>({
          source,
          load,
          cache: await noCache(),
          log: silent,
          changed() {},
          graceMs: 3600_000,
          backoffMs: [0, 0],
        });
        let revision = 0;
        let serves = false;
        for (const step of history) {
          const open = attempts.filter((attempt) => attempt.open);
          const attempt = 'which' in step ? open[step.which % open.length] : undefined;
          switch (step.do) {
            case 'target':
              await say(following(targetOf(`1.${step.version}.0`, ++revision)));
              break;
            case 'none':
              await say(following(null, { revision: ++revision }));
              break;
            case 'succeed':
              if (attempt) models.push(attempt.succeed());
              break;
            case 'break':
            case 'refuse':
              attempt?.fail(failure(step.do === 'break' ? 'hydrate-failed' : 'golden-mismatch'));
              break;
            case 'lease':
              if (serves) leases.push(engine.lease());
              break;
            case 'release':
              leases.shift()?.release();
              break;
            case 'turn':
              await turn();
              break;
            default:
              await say({ state: step.do });
          }
          if (serves && engine.status().current === null) wrong.push('nothing serves any more');
          serves = engine.status().current !== null;
        }
        await say(following(targetOf('2.0.0', ++revision)));
        await until(() => attempts.at(-1)?.target.version === '2.0.0');
        models.push(attempts.at(-1)!.succeed());
        await until(() => engine.status().state === 'ready');
        leases.push(engine.lease());
        if (leases.at(-1)!.model !== models.at(-1)) wrong.push('the newest version does not serve');
        for (const attempt of attempts) if (attempt.open) models.push(attempt.succeed());
        for (const lease of leases.splice(0)) lease.release();
        await engine.close();
        expect(models.filter(({ disposals }) => disposals === 0)).toEqual([]);
        expect(wrong).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});

/** A cache that stores nothing. */
async function noCache(): Promise<Cache> {
  const nothing = async () => {};
  const lastGood = async () => null;
  return { lastGood, saveLastGood: nothing, sweep: nothing, touch: nothing } as Partial<Cache> as Cache;
}
