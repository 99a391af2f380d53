import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Manifest } from '../../src/domain/manifest.ts';
import { createBundle, type LeasedBundle } from '../../src/loader/bundle.ts';
import { filesIn } from '../../src/loader/files.ts';
import { digestOf } from '../support/loaders.ts';

const manifest_digest = digestOf('1.0.0');
const info = {
  model: 'fraud',
  version: '1.0.0',
  manifest: Manifest.parse({ artifacts: [{ path: 'model.txt', digest: manifest_digest, size: 1 }] }),
  manifest_digest,
};

/** Long enough for all that is ready to run. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A bundle whose clock is set by hand, and what was disposed of, in order. */
function bundleOf() {
  const disposed: string[] = [];
  const errors: unknown[] = [];
  const clock = { now: 0 };
  const leased = createBundle(info, filesIn('/nowhere'), 'model', {
    dispose: (model) => disposed.push(model),
    failed: (error) => errors.push(error),
    clock: () => clock.now,
  });
  return { leased, disposed, errors, clock };
}

/** A derived resource that tells how often it was built. */
function resourceOf(disposed: string[], ttl_ms?: number) {
  let built = 0;
  const dispose = (value: string) => void disposed.push(value);
  return {
    built: () => built,
    of: ({ bundle }: LeasedBundle<string>) =>
      bundle.derived('index', async () => `index ${++built}`, ttl_ms === undefined ? { dispose } : { dispose, ttl_ms }),
  };
}

describe('a bundle', () => {
  it('is what was loaded, and cannot be changed', () => {
    const { leased } = bundleOf();
    const { model: _, ...said } = info;
    expect(leased.bundle).toMatchObject({ ...said, model: 'model' });
    const lease = leased.lease();
    expect(() => Object.assign(leased.bundle, { model: 'other' })).toThrow(TypeError);
    expect(() => Object.assign(lease, { version: '2.0.0' })).toThrow(TypeError);
  });

  it('goes when the last lease is back', async () => {
    const { leased, disposed } = bundleOf();
    const [first, second] = [leased.lease(), leased.lease()];
    first.release();
    let gone = false;
    const retired = leased.retire().then(() => {
      gone = true;
    });
    first.release(); // twice is once
    await turn();
    expect([gone, disposed]).toEqual([false, []]);
    second.release();
    await retired;
    expect(disposed).toEqual(['model']);
  });

  it('goes at once when nobody has it', async () => {
    const { leased, disposed } = bundleOf();
    leased.lease().release();
    await leased.retire();
    expect(disposed).toEqual(['model']);
  });

  it('goes, and says so, if what lets go of it throws', async () => {
    const { leased, disposed, errors } = bundleOf();
    await leased.bundle.derived('a', () => 'a', { dispose: () => Promise.reject(new Error('later')) });
    await leased.bundle.derived('b', () => 'b', {
      dispose: () => {
        throw new Error('at once');
      },
    });
    await leased.retire();
    expect(errors).toEqual([new Error('later'), new Error('at once')]);
    expect(disposed).toEqual(['model']);
  });
});

describe('what is derived from a bundle', () => {
  it('is built once, however many ask at a time', async () => {
    const { leased, disposed } = bundleOf();
    const index = resourceOf(disposed);
    const lease = leased.lease();
    const values = await Promise.all([index.of(leased), lease.derived('index', () => 'never'), index.of(leased)]);
    expect(values).toEqual(['index 1', 'index 1', 'index 1']);
    expect(await leased.bundle.derived('other', () => 'other')).toBe('other');
    lease.release();
    await leased.retire();
    expect(disposed).toEqual(['index 1', 'model']);
  });

  it('is built anew when its time has passed, and the old one goes when nobody can be using it', async () => {
    const { leased, disposed, clock } = bundleOf();
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

  it('is not kept if building it failed, at once or later, and nothing is let go of then', async () => {
    const { leased, disposed } = bundleOf();
    const dispose = (value: string) => disposed.push(value);
    const failing = () => {
      throw new Error('no memory');
    };
    await expect(leased.bundle.derived<string>('index', failing, { dispose })).rejects.toThrow('no memory');
    await expect(leased.bundle.derived<string>('index', async () => failing(), { dispose })).rejects.toThrow(
      'no memory',
    );
    expect(await leased.bundle.derived('index', () => 'index', { dispose })).toBe('index');
    await leased.retire();
    expect(disposed).toEqual(['index', 'model']);
  });

  it('is waited for when the bundle goes while it is built', async () => {
    const { leased, disposed } = bundleOf();
    const building = Promise.withResolvers<string>();
    void leased.bundle.derived('index', () => building.promise, { dispose: (value) => disposed.push(value) });
    const retired = leased.retire();
    await turn();
    expect(disposed).toEqual([]);
    building.resolve('index');
    await retired;
    expect(disposed).toEqual(['index', 'model']);
  });

  it('can still be built by who has a lease, and by nobody after that', async () => {
    const { leased, disposed } = bundleOf();
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

describe('whatever is done with a bundle', () => {
  const steps = fc.oneof(
    fc.record({ do: fc.constant('lease' as const) }),
    fc.record({ do: fc.constant('release' as const), which: fc.nat() }),
    fc.record({ do: fc.constant('derive' as const), name: fc.constantFrom('a', 'b'), fails: fc.boolean() }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: 20 }) }),
    fc.record({ do: fc.constant('turn' as const) }),
  );

  it('all that was made is let go of once, in the end, and never while a lease is out that saw it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 40 }), fc.nat({ max: 40 }), async (history, retireAt) => {
        const clock = { now: 0 };
        const alive = new Set<object>();
        const made: object[] = [];
        const wrong: string[] = [];
        const gone = (value: object) => {
          if (!alive.delete(value)) wrong.push('let go of twice');
          if (leases.some(({ seen }) => seen.has(value))) wrong.push('let go of while it was in use');
        };
        const make = () => {
          const value = {};
          made.push(value);
          alive.add(value);
          return value;
        };
        const model = make();
        const leased = createBundle(info, filesIn('/nowhere'), model, {
          dispose: gone,
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
          const options = { ttl_ms: 10, dispose: gone };
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
