import { expect, test } from 'vitest';
import { openPlaces } from '../../src/structures/places.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('gives out at most `max` places, in the order of the requests', async () => {
  const places = openPlaces(2);
  const given: number[] = [];
  const requests = [1, 2, 3, 4].map((request) => places.take().then(() => given.push(request)));
  await turn();
  expect(given).toEqual([1, 2]);
  places.release();
  await turn();
  expect(given).toEqual([1, 2, 3]);
  places.release();
  await Promise.all(requests);
  expect(given).toEqual([1, 2, 3, 4]);
});

test('a place that is given back can be taken again', async () => {
  const places = openPlaces(1);
  for (let i = 0; i < 3; i++) {
    await places.take();
    places.release();
  }
});
