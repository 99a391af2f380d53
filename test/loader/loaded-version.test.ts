import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Manifest } from '../../src/domain/manifest.ts';
import { filesIn } from '../../src/loader/files.ts';
import { createLoadedVersion, type LeasedVersion } from '../../src/loader/loaded-version.ts';
import { digestOf } from '../support/loaders.ts';

const manifest_digest = digestOf('1.0.0');
const info = {
  model: 'fraud',
  version: '1.0.0',
  manifest: Manifest.parse({ artifacts: [{ path: 'model.txt', digest: manifest_digest, size: 1 }] }),
  manifest_digest,
};

/** Lets everything that is ready run. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A loaded version with a manual clock, and what was disposed of, in order. */
function loadVersion() {
  const disposed: string[] = [];
  const errors: unknown[] = [];
  const clock = { now: 0 };
  const leased = createLoadedVersion(info, filesIn('/nowhere'), 'model', {
    dispose: (model) => disposed.push(model),
    failed: (error) => errors.push(error),
    clock: () => clock.now,
  });
  return { leased, disposed, errors, clock };
}

/** A derived resource that counts its builds. */
function resourceOf(disposed: string[], ttl_ms?: number) {
  let built = 0;
  const dispose = (value: string) => void disposed.push(value);
  return {
    built: () => built,
    of: ({ loaded }: LeasedVersion<string>) =>
      loaded.derived('index', async () => `index ${++built}`, ttl_ms === undefined ? { dispose } : { dispose, ttl_ms }),
  };
}

describe('a loaded version', () => {
  it('has the version’s facts and is immutable', () => {
    const { leased } = loadVersion();
    const { model: _, ...facts } = info;
    expect(leased.loaded).toMatchObject({ ...facts, model: 'model' });
    const lease = leased.lease();
    expect(() => Object.assign(leased.loaded, { model: 'other' })).toThrow(TypeError);
    expect(() => Object.assign(lease, { version: '2.0.0' })).toThrow(TypeError);
  });

  it('is disposed of when the last lease is released', async () => {
    const { leased, disposed } = loadVersion();
    const [first, second] = [leased.lease(), leased.lease()];
    first.release();
    let done = false;
    const retired = leased.retire().then(() => {
      done = true;
    });
    first.release(); // has no effect the second time
    await turn();
    expect([done, disposed]).toEqual([false, []]);
    second.release();
    await retired;
    expect(disposed).toEqual(['model']);
  });

  it('is disposed of at once without a lease', async () => {
    const { leased, disposed } = loadVersion();
    leased.lease().release();
    await leased.retire();
    expect(disposed).toEqual(['model']);
  });

  it('is disposed of and reports the errors, when `dispose` functions throw', async () => {
    const { leased, disposed, errors } = loadVersion();
    await leased.loaded.derived('a', () => 'a', { dispose: () => Promise.reject(new Error('later')) });
    await leased.loaded.derived('b', () => 'b', {
      dispose: () => {
        throw new Error('at once');
      },
    });
    await leased.retire();
    expect(errors).toEqual([new Error('later'), new Error('at once')]);
    expect(disposed).toEqual(['model']);
  });
});

describe('derived', () => {
  it('builds once for concurrent calls', async () => {
    const { leased, disposed } = loadVersion();
    const index = resourceOf(disposed);
    const lease = leased.lease();
    const values = await Promise.all([index.of(leased), lease.derived('index', () => 'never'), index.of(leased)]);
    expect(values).toEqual(['index 1', 'index 1', 'index 1']);
    expect(await leased.loaded.derived('other', () => 'other')).toBe('other');
    lease.release();
    await leased.retire();
    expect(disposed).toEqual(['index 1', 'model']);
  });

  it('builds again after the TTL, and disposes of the old value when no lease can use it', async () => {
    const { leased, disposed, clock } = loadVersion();
    const index = resourceOf(disposed, 100);
    const [one, other] = [leased.lease(), leased.lease()];
    await index.of(leased);
    clock.now = 99;
    expect(await index.of(leased)).toBe('index 1');
    clock.now = 100;
    expect(await index.of(leased)).toBe('index 2');
    one.release();
    await turn();
    expect(disposed).toEqual([]);
    other.release();
    await turn();
    expect(disposed).toEqual(['index 1']);
    await leased.retire();
    expect(disposed).toEqual(['index 1', 'index 2', 'model']);
  });

  it('does not keep a failed build, and disposes of nothing then', async () => {
    const { leased, disposed } = loadVersion();
    const dispose = (value: string) => disposed.push(value);
    const failing = () => {
      throw new Error('no memory');
    };
    await expect(leased.loaded.derived<string>('index', failing, { dispose })).rejects.toThrow('no memory');
    await expect(leased.loaded.derived<string>('index', async () => failing(), { dispose })).rejects.toThrow(
      'no memory',
    );
    expect(await leased.loaded.derived('index', () => 'index', { dispose })).toBe('index');
    await leased.retire();
    expect(disposed).toEqual(['index', 'model']);
  });

  it('is waited for when the version is retired during a build', async () => {
    const { leased, disposed } = loadVersion();
    const building = Promise.withResolvers<string>();
    void leased.loaded.derived('index', () => building.promise, { dispose: (value) => disposed.push(value) });
    const retired = leased.retire();
    await turn();
    expect(disposed).toEqual([]);
    building.resolve('index');
    await retired;
    expect(disposed).toEqual(['index', 'model']);
  });

  it('works until the last lease is released, and rejects after that', async () => {
    const { leased, disposed } = loadVersion();
    const index = resourceOf(disposed);
    const lease = leased.lease();
    const retired = leased.retire();
    expect(await index.of(leased)).toBe('index 1');
    lease.release();
    await retired;
    expect(disposed).toEqual(['index 1', 'model']);
    await expect(index.of(leased)).rejects.toThrow('1.0.0');
    expect(index.built()).toBe(1);
  });
});

describe('any sequence of actions', () => {
  const steps = fc.oneof(
    fc.record({ do: fc.constant('lease' as const) }),
    fc.record({ do: fc.constant('release' as const), which: fc.nat() }),
    fc.record({ do: fc.constant('derive' as const), name: fc.constantFrom('a', 'b'), fails: fc.boolean() }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: 20 }) }),
    fc.record({ do: fc.constant('turn' as const) }),
  );

  it('disposes of every value exactly once, and never while a lease that saw it is held', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 40 }), fc.nat({ max: 40 }), async (history, retireAt) => {
        const clock = { now: 0 };
        const alive = new Set<object>();
        const made: object[] = [];
        const wrong: string[] = [];
        const dispose = (value: object) => {
          if (!alive.delete(value)) wrong.push('disposed of twice');
          if (leases.some(({ seen }) => seen.has(value))) wrong.push('disposed of while in use');
        };
        const make = () => {
          const value = {};
          made.push(value);
          alive.add(value);
          return value;
        };
        const model = make();
        const leased = createLoadedVersion(info, filesIn('/nowhere'), model, {
          dispose,
          failed: (error) => wrong.push(String(error)),
          clock: () => clock.now,
        });
        const leases: { lease: ReturnType<typeof leased.lease>; seen: Set<object> }[] = [];
        let retired: Promise<void> | null = null;
        for (const [i, step] of history.entries()) {
          if (i === retireAt) retired = leased.retire();
          if (step.do === 'lease' && !retired) leases.push({ lease: leased.lease(), seen: new Set([model]) });
          if (step.do === 'wait') clock.now += step.ms;
          if (step.do === 'turn') await turn();
          if (step.do === 'release' && leases.length > 0)
            leases.splice(step.which % leases.length, 1)[0]!.lease.release();
          const user = leases.at(-1);
          if (step.do !== 'derive' || !user) continue;
          const options = { ttl_ms: 10, dispose };
          const build = () => (step.fails ? Promise.reject(new Error('no')) : make());
          await user.lease.derived(step.name, build, options).then(
            (value) => user.seen.add(value),
            () => {},
          );
        }
        retired ??= leased.retire();
        for (const { lease } of leases.splice(0)) lease.release();
        await retired;
        await turn();
        expect(wrong).toEqual([]);
        expect(alive.size).toBe(0);
      }),
    );
  });
});
