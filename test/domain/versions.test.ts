import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bumped, compareVersions, isVersion, precedence, preferred, Version } from '../../src/domain/versions.ts';

describe('a version', () => {
  test.each(['0.0.0', '1.0.0', '10.20.30', '1.0.0-rc.1', '1.0.0-0', '1.0.0-x-y.7', '1.0.0-alpha.0.beta'])(
    'may be %s',
    (text) => expect(Version.safeParse(text).success).toBe(true),
  );

  test.each([
    ...['v1.0.0', '=1.0.0', '1.0', '1', '1.0.0.0', '01.0.0', '1.00.0', '1.0.0-01', '1.0.0-', '1.0.0+x', '1.0.0-rc.1+x'],
    ...[' 1.0.0', '1.0.0 ', '1.0.0\n', '', 'latest', '1.x.0', '-1.0.0', '1.0.0-a_b', '1.0.0-é', '../1.0.0', '1.0.0/x'],
    ...['9007199254740992.0.0', '__proto__', 'constructor', '1.0.0-\ud800', '١.0.0'],
  ])('may not be %j', (text) => expect(Version.safeParse(text).success).toBe(false));

  test('has at most 128 characters', () => {
    expect(isVersion(`1.0.0-${'a'.repeat(122)}`)).toBe(true);
    expect(isVersion(`1.0.0-${'a'.repeat(123)}`)).toBe(false);
  });

  test('is valid as a folder name and a path segment', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'grapheme' }), fc.stringMatching(/^\d+\.\d+\.\d+(-[\w.+-]*)?$/)),
        (text) => {
          if (isVersion(text)) expect(text).toMatch(/^[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.-]*$/);
        },
      ),
    );
  });
});

const releases = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3)).map((parts) => parts.join('.'));
const versions = fc.array(
  fc.tuple(releases, fc.constantFrom('', '-alpha', '-rc.1', '-rc.2', '-rc.10')).map((p) => p.join('')),
);

const highest = (all: string[]) => all.reduce<string | null>(preferred, null);

describe('the preferred version', () => {
  test.each([
    [[], null],
    [['1.9.0', '1.10.0', '1.2.0'], '1.10.0'],
    [['1.0.0', '2.0.0-rc.1'], '1.0.0'],
    [['2.0.0-rc.2', '2.0.0-rc.10', '2.0.0-beta'], '2.0.0-rc.10'],
  ])('of %j is %s', (of, expected) => expect(highest(of)).toBe(expected));

  test('does not depend on the order', () => {
    fc.assert(
      fc.property(versions, (all) => {
        const stable = all.filter((version) => !version.includes('-'));
        const sorted = (stable.length > 0 ? stable : all).toSorted(compareVersions);
        expect(highest(all)).toBe(sorted.at(-1) ?? null);
      }),
    );
  });
});

describe('the bumped version', () => {
  test.each([
    [[], '1.0.0', '0.1.0', '0.0.1'],
    [['1.2.3'], '2.0.0', '1.3.0', '1.2.4'],
    [['1.2.3', '2.0.0-rc.1'], '2.0.0', '1.3.0', '1.2.4'],
    [['2.0.0-rc.1'], '2.0.0', '2.0.0', '2.0.0'],
    [['1.2.0-rc.1'], '2.0.0', '1.2.0', '1.2.0'],
    [['1.2.3-rc.1'], '2.0.0', '1.3.0', '1.2.3'],
  ])('%j: %s, %s, %s', (of, major, minor, patch) => {
    expect(bumped(highest(of), 'major')).toBe(major);
    expect(bumped(highest(of), 'minor')).toBe(minor);
    expect(bumped(highest(of), 'patch')).toBe(patch);
  });

  test('is always new, and the next latest version', () => {
    fc.assert(
      fc.property(versions, fc.constantFrom('major' as const, 'minor' as const, 'patch' as const), (all, bump) => {
        const next = bumped(highest(all), bump);
        expect(isVersion(next)).toBe(true);
        expect(all).not.toContain(next);
        expect(highest([...all, next])).toBe(next);
      }),
    );
  });
});

test('the precedence of versions as text sorts byte by byte as versions do', () => {
  const identifier = fc.oneof(fc.nat().map(String), fc.stringMatching(/^[0-9A-Za-z-]{1,8}$/));
  const version = fc
    .tuple(fc.nat(), fc.nat(20), fc.nat(3), fc.array(identifier, { maxLength: 3 }))
    .map(([major, minor, patch, ids]) => `${major}.${minor}.${patch}${ids.length > 0 ? `-${ids.join('.')}` : ''}`)
    .filter(isVersion);
  fc.assert(
    fc.property(version, version, (a, b) => {
      const compared = Buffer.compare(Buffer.from(precedence(a)), Buffer.from(precedence(b)));
      expect(compared).toBe(compareVersions(a, b));
    }),
    {
      examples: [
        ['1.0.0-1', '1.0.0--'],
        ['1.0.0-a.b', '1.0.0-a'],
        ['1.0.0-ab', '1.0.0-a-'],
        ['2.0.0-rc.1', '2.0.0'],
      ],
    },
  );
});
