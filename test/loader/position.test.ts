import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { judge } from '../../src/loader/position.ts';

interface Said {
  generation: number;
  epoch: string | null;
  revision: number;
}

const at = (generation: number, epoch: string | null, revision: number): Said => ({ generation, epoch, revision });
const holding = (said: Said) => ({ ...said, id: 'opaque' });

describe('a message', () => {
  test.each([
    ['the next one', at(1, 'a', 8), 'take'],
    ['the same again', at(1, 'a', 7), 'take'],
    ['an older one', at(1, 'a', 6), 'pass'],
    ['from the beginning', at(1, 'a', 0), 'pass'],
    ['another log’s', at(1, 'b', 8), 'diverged'],
    ['another log’s, older', at(1, 'b', 6), 'diverged'],
    ['an empty log’s', at(1, null, 0), 'diverged'],
    ['a lower generation’s', at(0, 'a', 8), 'diverged'],
    ['a lower generation’s of another log', at(0, 'b', 9), 'diverged'],
    ['a restored log’s', at(2, 'a', 8), 'take'],
    ['a restored log’s, older', at(2, 'a', 3), 'take'],
    ['a log’s that was restored from another', at(2, 'b', 1), 'take'],
    ['a log’s that was restored empty', at(2, null, 0), 'take'],
  ] as const)('%s, after revision 7 of generation 1', (_, said, verdict) => {
    expect(judge(holding(at(1, 'a', 7)), said, false)).toBe(verdict);
  });

  test('with the registry’s word that its log does not hold what was held, only a restore excuses', () => {
    const held = holding(at(1, 'a', 7));
    for (const said of [at(1, 'a', 6), at(1, 'a', 7), at(1, 'a', 8)]) expect(judge(held, said, true)).toBe('diverged');
    expect(judge(held, at(2, 'a', 3), true)).toBe('take');
  });

  test('is taken by who holds nothing, whatever it says', () => {
    for (const reset of [false, true]) expect(judge(null, at(0, null, 0), reset)).toBe('take');
  });

  test('gives a log its epoch when the first event comes', () => {
    expect(judge(holding(at(0, null, 0)), at(0, 'a', 1), false)).toBe('take');
  });
});

/** What a follower holds after each of the messages. */
function follow(messages: Said[]): (Said | null)[] {
  let held: ReturnType<typeof holding> | null = null;
  return messages.map((said) => {
    if (judge(held, said, false) === 'take') held = holding(said);
    return held;
  });
}

describe('a follower', () => {
  test('of one log is at the newest that it was told, in whatever order and however often', () => {
    const told = fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(told, (revisions) => {
        const held = follow(revisions.map((revision) => at(3, 'a', revision)));
        expect(held.map((position) => position?.revision)).toEqual(
          revisions.map((_, i) => Math.max(...revisions.slice(0, i + 1))),
        );
      }),
    );
  });

  test('goes back, or to another log, only with a higher generation', () => {
    const said = fc.record({
      generation: fc.nat({ max: 3 }),
      epoch: fc.constantFrom('a', 'b', null),
      revision: fc.nat({ max: 9 }),
    });
    fc.assert(
      fc.property(fc.array(said, { maxLength: 60 }), (messages) => {
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

  test('is never stuck: the next event of the log that it follows is taken', () => {
    const said = fc.record({
      generation: fc.nat({ max: 3 }),
      epoch: fc.constantFrom('a', 'b'),
      revision: fc.nat({ max: 9 }),
    });
    fc.assert(
      fc.property(fc.array(said, { minLength: 1, maxLength: 40 }), (messages) => {
        const held = follow(messages).at(-1)!;
        expect(judge(holding(held), { ...held, revision: held.revision + 1 }, false)).toBe('take');
      }),
    );
  });
});
