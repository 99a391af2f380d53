import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createWriteLimits } from '../../src/commands/write-limits.ts';
import { Problem } from '../../src/domain/errors.ts';

const MIB = 1024 * 1024;

function limits({ commands = 3, bytes = 2 * MIB, caller = { commands: 5, bytes: 3 * MIB } } = {}) {
  let now = 0;
  const created = createWriteLimits({ ofModel: () => ({ commands, bytes }), ofCaller: caller }, () => now);
  return {
    wait: (seconds: number) => {
      now += seconds * 1000;
    },
    /** True if the write was accepted, otherwise the refusal. */
    write(model: string, actor: string, bytes = 100, moves_back = false): true | Problem {
      try {
        created.charge({ model, actor, bytes, moves_back });
        return true;
      } catch (error) {
        if (error instanceof Problem) return error;
        throw error;
      }
    },
    charge: created.charge,
  };
}

describe('write limits', () => {
  it('limit a model across all callers, and reset after a minute', () => {
    const { write, wait } = limits();
    expect([write('fraud', 'ana'), write('fraud', 'ben'), write('fraud', 'eve')]).toEqual([true, true, true]);
    wait(10);
    const refused = write('fraud', 'dan');
    expect(refused).toMatchObject({ code: 'too-many-commands', fields: { retry_after: 50, commands: 3 } });
    expect(refused).toMatchObject({ message: expect.stringContaining('The model fraud may add 3 commands and 2 MiB') });
    expect(write('churn', 'dan')).toBe(true);
    wait(50);
    expect(write('fraud', 'dan')).toBe(true);
  });

  it('limit a caller across all models', () => {
    const { write } = limits();
    for (let i = 0; i < 5; i++) expect(write(`model-${i}`, 'key:ci')).toBe(true);
    expect(write('another', 'key:ci')).toMatchObject({ code: 'too-many-commands' });
    expect(write('another', 'ana')).toBe(true);
  });

  it('count bytes', () => {
    const { write } = limits({ commands: 0 });
    expect(write('fraud', 'ana', 1.5 * MIB)).toBe(true);
    expect(write('fraud', 'ana', 0.6 * MIB)).toMatchObject({ code: 'too-many-commands' });
    expect(write('fraud', 'ana', 0.5 * MIB)).toBe(true);
  });

  it('do not charge for events that were refused or not stored', () => {
    const { write, charge } = limits();
    for (let i = 0; i < 10; i++) charge({ model: 'fraud', actor: 'ana', bytes: 100, moves_back: false })();
    for (let i = 0; i < 3; i++) expect(write('fraud', 'ana')).toBe(true);
    for (let i = 0; i < 10; i++) expect(write('fraud', 'ana')).toMatchObject({ code: 'too-many-commands' });
    // Refusals of the model did not charge the caller, which has two left.
    expect([write('churn', 'ana'), write('churn', 'ana')]).toEqual([true, true]);
    expect(write('churn', 'ana')).toMatchObject({ message: expect.stringMatching(/^ana may add 5 commands/) });
  });

  it('count moves back separately, so that neither kind can block the other', () => {
    const { write } = limits();
    for (let i = 0; i < 3; i++) expect(write('fraud', 'ana')).toBe(true);
    for (let i = 0; i < 3; i++) expect(write('fraud', 'ben', 100, true)).toBe(true);
    expect(write('fraud', 'ben', 100, true)).toMatchObject({ code: 'too-many-commands' });
  });

  it('do not confuse a caller with a model of the same name', () => {
    const { write } = limits({ commands: 3, caller: { commands: 3, bytes: 2 * MIB } });
    for (let i = 0; i < 3; i++) expect(write('fraud', 'ana')).toBe(true);
    expect(write('churn', 'fraud')).toBe(true);
    expect(write('churn', 'The model fraud')).toBe(true);
  });

  it('do not limit anything if they are 0', () => {
    const { write } = limits({ commands: 0, bytes: 0, caller: { commands: 0, bytes: 0 } });
    for (let i = 0; i < 1_000; i++) expect(write('fraud', 'ana', MIB)).toBe(true);
  });

  it('never accept more in a minute than the limit, for any mix of callers and models', () => {
    const writes = fc.array(
      fc.record({ model: fc.constantFrom('a', 'b'), actor: fc.constantFrom('x', 'y'), size: fc.nat(MIB) }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(writes, (all) => {
        const { write } = limits();
        const stored = all.filter(({ model, actor, size }) => write(model, actor, size) === true);
        const sum = (key: 'model' | 'actor', name: string) => {
          const own = stored.filter((one) => one[key] === name);
          return { commands: own.length, bytes: own.reduce((total, { size }) => total + size, 0) };
        };
        for (const model of ['a', 'b']) {
          expect(sum('model', model).commands).toBeLessThanOrEqual(3);
          expect(sum('model', model).bytes).toBeLessThanOrEqual(2 * MIB);
        }
        for (const actor of ['x', 'y']) {
          expect(sum('actor', actor).commands).toBeLessThanOrEqual(5);
          expect(sum('actor', actor).bytes).toBeLessThanOrEqual(3 * MIB);
        }
      }),
    );
  });
});
