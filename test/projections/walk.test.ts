import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dueAt, type Walk, walkEndlessly } from '../../src/projections/volume/walk.ts';
import { temporaryFolder } from '../support/folder.ts';

const ITEMS = Array.from({ length: 20 }, (_, i) => `item-${String(i).padStart(2, '0')}`);

/** A walk over the items, three on a page, that stops at `last`; the visit of an item may fail. */
async function walked(file: string, last: string, { fails = '', period = 1 } = {}): Promise<string[]> {
  const stop = new AbortController();
  const visited: string[] = [];
  const errors: object[] = [];
  const visit = async (item: string) => {
    visited.push(item);
    if (item === fails) throw new Error('it cannot be read');
    if (item === last) stop.abort();
  };
  const after = (key: string) => ITEMS.filter((item) => item > key).slice(0, 3);
  const walk: Walk = {
    name: 'test',
    first: '',
    after: (key) => after(key).map((item) => ({ key: item, visit: () => visit(item) })),
  };
  const log = { error: (line: object) => void errors.push(line) };
  await walkEndlessly([walk], { period, file, ready: () => true, stop: stop.signal, log });
  expect(errors).toHaveLength(visited.filter((item) => item === fails).length);
  return visited;
}

test('a walk visits every item in order, and continues after a restart where it was', async () => {
  const file = join(await temporaryFolder(), 'places.json');
  const first = await walked(file, 'item-07');
  expect(first).toEqual(ITEMS.slice(0, 8));
  const second = await walked(file, 'item-19');
  // The item that it was stopped at is visited again.
  expect(second).toEqual(ITEMS.slice(7));
});

test('an item that cannot be visited does not keep the walk from the next ones', async () => {
  const file = join(await temporaryFolder(), 'places.json');
  expect(await walked(file, 'item-12', { fails: 'item-04' })).toEqual(ITEMS.slice(0, 13));
});

test('nothing is visited as long as the items are not known', async () => {
  const stop = new AbortController();
  const walk: Walk = { name: 'test', first: '', after: () => expect.unreachable() };
  const file = join(await temporaryFolder(), 'places.json');
  const walking = walkEndlessly([walk], {
    period: 1,
    file,
    ready: () => false,
    stop: stop.signal,
    log: { error() {} },
  });
  await sleep(50);
  stop.abort();
  await walking;
});

test('the items of a walk are due in order, evenly, and all within the period', () => {
  const whole = (max: number) => fc.integer({ min: 1, max });
  fc.assert(
    fc.property(whole(1e13), whole(1e6), whole(8_760), (started, count, hours) => {
      const period = hours * 3600_000;
      const due = (item: number) => dueAt(started, item, count, period);
      expect(due(0)).toBe(started);
      expect(due(count)).toBe(started + period);
      const item = Math.floor(count / 2);
      expect(due(item + 1)).toBeGreaterThanOrEqual(due(item));
      expect(due(item + 1) - due(item)).toBeCloseTo(period / count, 0);
    }),
  );
});
