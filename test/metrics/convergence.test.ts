import { expect, test } from 'vitest';
import type { LoaderView } from '../../src/domain/fleet.ts';
import { watchConvergence } from '../../src/metrics/convergence.ts';
import { reportOf, targetOf } from '../support/loaders.ts';

const first = targetOf('1.0.0', 3);
const second = targetOf('1.1.0', 5);

/** A fleet whose clock the test controls. */
function watched() {
  let now = 0;
  let listener: (model: string, environment: string) => void = () => {};
  const loaders = new Map<string, LoaderView>();
  const times: [environment: string, seconds: number][] = [];
  const { moved } = watchConvergence({
    fleet: { of: () => [...loaders.values()], onReport: (given) => (listener = given) },
    converged: (environment, seconds) => times.push([environment, seconds]),
    now: () => now,
  });
  return {
    times,
    moved: (active: typeof first | null) => moved({ model: 'fraud', environment: 'production', active }),
    pass: (seconds: number) => {
      now += seconds * 1000;
    },
    say(instance: string, fields: Parameters<typeof reportOf>[0] | null) {
      const view = { model: 'fraud', instance, reported_at: '2026-03-03T14:05:00Z' };
      if (fields === null) loaders.delete(instance);
      else loaders.set(instance, { ...view, ...reportOf(fields) });
      listener('fraud', fields?.environment ?? 'production');
    },
  };
}

const serving = (target: typeof first) => ({ state: 'ready' as const, target, current: target });

test('times from the move to the last loader that serves it', () => {
  const { moved, say, pass, times } = watched();
  for (const instance of ['a', 'b']) say(instance, serving(first));
  say('elsewhere', { ...serving(first), environment: 'staging' });
  moved(second);
  pass(2);
  say('a', serving(second));
  say('b', { state: 'loading', target: second, current: first });
  pass(3);
  expect(times).toEqual([]);
  say('b', serving(second));
  say('b', serving(second));
  expect(times).toEqual([['production', 5]]);
});

test('does not wait for a loader that has stopped', () => {
  const { moved, say, pass, times } = watched();
  for (const instance of ['a', 'b']) say(instance, serving(first));
  moved(second);
  say('a', serving(second));
  pass(1);
  say('b', null);
  expect(times).toEqual([['production', 1]]);
});

test('times a deactivation until all loaders have followed', () => {
  const { moved, say, pass, times } = watched();
  say('a', serving(first));
  moved(null);
  pass(1);
  say('a', { state: 'no-target', current: first });
  expect(times).toEqual([['production', 1]]);
});

test('does not time a move without loaders, one that is followed by another, or one that takes over an hour', () => {
  const { moved, say, pass, times } = watched();
  moved(first);
  say('a', serving(first));
  moved(second);
  pass(10);
  moved(first);
  pass(1);
  say('a', serving(first));
  expect(times).toEqual([['production', 1]]);
  moved(second);
  pass(3601);
  say('a', serving(second));
  say('a', serving(second));
  expect(times).toHaveLength(1);
});
