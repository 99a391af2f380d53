import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { acceptanceOf } from '../../src/loader/position.ts';

interface Place {
  generation: number;
  epoch: string | null;
  revision: number;
}

const at = (generation: number, epoch: string | null, revision: number): Place => ({ generation, epoch, revision });
const holding = (place: Place) => ({ ...place, id: 'opaque' });

describe('acceptanceOf', () => {
  test.each([
    ['the next message', at(1, 'a', 8), 'accept'],
    ['the same message', at(1, 'a', 7), 'accept'],
    ['an older message', at(1, 'a', 6), 'skip'],
    ['the position of an empty log', at(1, 'a', 0), 'skip'],
    ['another log', at(1, 'b', 8), 'diverged'],
    ['another log, older', at(1, 'b', 6), 'diverged'],
    ['an emptied log', at(1, null, 0), 'diverged'],
    ['a lower generation', at(0, 'a', 8), 'diverged'],
    ['a lower generation of another log', at(0, 'b', 9), 'diverged'],
    ['a restored log', at(2, 'a', 8), 'accept'],
    ['a restored log, older', at(2, 'a', 3), 'accept'],
    ['a log restored from another log', at(2, 'b', 1), 'accept'],
    ['a log restored empty', at(2, null, 0), 'accept'],
  ] as const)('after revision 7 of generation 1: %s', (_, message, acceptance) => {
    expect(acceptanceOf(message, holding(at(1, 'a', 7)), false)).toBe(acceptance);
  });

  test('with reset, accepts only a higher generation', () => {
    const held = holding(at(1, 'a', 7));
    for (const place of [at(1, 'a', 6), at(1, 'a', 7), at(1, 'a', 8)]) {
      expect(acceptanceOf(place, held, true)).toBe('diverged');
    }
    expect(acceptanceOf(at(2, 'a', 3), held, true)).toBe('accept');
  });

  test('accepts any message when nothing was accepted before', () => {
    for (const reset of [false, true]) expect(acceptanceOf(at(0, null, 0), null, reset)).toBe('accept');
  });

  test('accepts the epoch of the first event of an empty log', () => {
    expect(acceptanceOf(at(0, 'a', 1), holding(at(0, null, 0)), false)).toBe('accept');
  });
});

/** The accepted position after each of the messages. */
function follow(messages: Place[]): (Place | null)[] {
  let held: ReturnType<typeof holding> | null = null;
  return messages.map((message) => {
    if (acceptanceOf(message, held, false) === 'accept') held = holding(message);
    return held;
  });
}

describe('a follower', () => {
  test('of one log is at the newest revision, in any order and with repetitions', () => {
    const sent = fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(sent, (revisions) => {
        const held = follow(revisions.map((revision) => at(3, 'a', revision)));
        expect(held.map((position) => position?.revision)).toEqual(
          revisions.map((_, i) => Math.max(...revisions.slice(0, i + 1))),
        );
      }),
    );
  });

  test('goes backwards or to another log only with a higher generation', () => {
    const places = fc.record({
      generation: fc.nat({ max: 3 }),
      epoch: fc.constantFrom('a', 'b', null),
      revision: fc.nat({ max: 9 }),
    });
    fc.assert(
      fc.property(fc.array(places, { maxLength: 60 }), (messages) => {
        const held = follow(messages);
        for (const [i, position] of held.entries()) {
          const before = held[i - 1];
          if (!before || !position || position.generation > before.generation) continue;
          expect(position.generation).toBe(before.generation);
          expect(position.revision).toBeGreaterThanOrEqual(before.revision);
          if (before.epoch !== null) expect(position.epoch).toBe(before.epoch);
        }
      }),
    );
  });

  test('always accepts the next event of the log that it follows', () => {
    const places = fc.record({
      generation: fc.nat({ max: 3 }),
      epoch: fc.constantFrom('a', 'b'),
      revision: fc.nat({ max: 9 }),
    });
    fc.assert(
      fc.property(fc.array(places, { minLength: 1, maxLength: 40 }), (messages) => {
        const held = follow(messages).at(-1)!;
        expect(acceptanceOf({ ...held, revision: held.revision + 1 }, holding(held), false)).toBe('accept');
      }),
    );
  });
});
