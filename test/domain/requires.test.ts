import { satisfies } from '@renovatebot/pep440';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkRuntime,
  constraintFrom,
  isPythonRange,
  packageName,
  Requires,
  Runtime,
} from '../../src/domain/requires.ts';

const holds = (constraint: string, fact: string) =>
  checkRuntime({ python: constraint }, { python: fact }, 'declared').mismatches.length === 0;
const holdsOnNode = (constraint: string, fact: string) =>
  checkRuntime({ node: constraint }, { node: fact }, 'declared').mismatches.length === 0;

describe('Python constraints are PEP 440', () => {
  test.each([
    ['~=1.5.1', '1.5.1', '1.5.9', '1.5.1.post1'],
    ['~=1.5', '1.5', '1.9.9'],
    ['>=3.11,<3.13', '3.11', '3.11.0', '3.12.9'],
    ['>= 3.11 , < 3.13', '3.12'],
    ['==1.5.*', '1.5.0', '1.5.7', '1.5.0rc1'],
    ['==1.5', '1.5.0', '1.5+cpu'],
    ['!=1.5.0', '1.5.1'],
    ['===1.5.1', '1.5.1'],
    ['>=1.5', '1.6rc1', '1!0.1'],
    ['~=1.5.0rc1', '1.5.0rc1', '1.5.0', '1.5.3'],
  ])('%s holds for %s %s %s', (constraint, ...facts) => {
    for (const fact of facts.filter(Boolean)) expect(holds(constraint, fact!), fact).toBe(true);
  });

  test.each([
    ['~=1.5.1', '1.5.0', '1.6.0', '1.5.1rc1'],
    ['~=1.5', '1.4', '2.0'],
    ['>=3.11,<3.13', '3.10.9', '3.13.0', '3.13.0rc1'],
    ['>=3.11', '3.9', '3.11rc1'],
    ['==1.5', '1.5.1', '1.5.0.post1'],
    ['>1.5', '1.5', '1.5.post1'],
    ['===1.5.1', '1.5.1.0'],
  ])('%s excludes %s %s %s', (constraint, ...facts) => {
    for (const fact of facts.filter(Boolean)) expect(holds(constraint, fact!), fact).toBe(false);
  });

  test.each([
    '1.5.1',
    '',
    ' ',
    ',',
    '^1.5',
    '~1.5',
    '1.x',
    '*',
    '>=1.0,',
    '=>1.0',
    '~=1',
    '>=1.0 || <2',
    'latest',
    '===\ud800',
  ])('%j is not valid', (text) => {
    expect(isPythonRange(text)).toBe(false);
    expect(Requires.safeParse({ python: text }).success).toBe(false);
  });
});

describe('Node constraints are node-semver', () => {
  test.each([
    ['>=22', '24.1.0', true],
    ['>=22', 'v22.18.0', true],
    ['^22.18.0', '23.0.0', false],
    ['^1.20.0', '1.21.0-dev.2', true],
    ['^1.20.0', '2.0.0-rc.1', false],
    ['20.x || 22.x', '22.0.0', true],
    ['20.x || 22.x', '21.0.0', false],
  ])('%s and %s: %s', (constraint, fact, expected) => expect(holdsOnNode(constraint, fact)).toBe(expected));

  test('other text is not valid', () => expect(Requires.safeParse({ node: 'newest of all' }).success).toBe(false));
});

test.each(['3.11', '3.11.7', '1.5.0rc1', '1!2.0', '2.1.0+cu118'])('%s is a Python version', (text) => {
  expect(Runtime.safeParse({ python: text, packages: { torch: text } }).success).toBe(true);
});

test.each(['>=3.11', '3.11.x', '', 'python3', '3.11.7 (main)'])('%j is not a Python version', (text) => {
  expect(Runtime.safeParse({ python: text }).success).toBe(false);
  expect(Runtime.safeParse({ packages: { torch: text } }).success).toBe(false);
});

describe('package names', () => {
  test.each(['scikit-learn', 'Scikit_Learn', 'scikit.learn', 'scikit-_.learn', 'SCIKIT--LEARN'])(
    'include %s as a spelling of scikit-learn',
    (name) => {
      expect(packageName(name)).toBe('scikit-learn');
      const check = checkRuntime({ packages: { [name]: '~=1.5.0' } }, { packages: { 'scikit-learn': '1.4.0' } }, 'x');
      expect(check.mismatches).toEqual([{ name: 'scikit-learn', expected: '~=1.5.0', actual: '1.4.0', source: 'x' }]);
    },
  );

  test('may not be two spellings of one package', () => {
    expect(Requires.safeParse({ packages: { 'a-b': '>=1', a_b: '<1' } }).success).toBe(false);
    expect(Runtime.safeParse({ packages: { 'a-b': '1', 'A.B': '2' } }).success).toBe(false);
    expect(Requires.safeParse({ packages: { 'a-b': '>=1', ab: '<1' } }).success).toBe(true);
  });

  test('of Python, of npm, and `python` and `node` are distinct', () => {
    const requires = {
      ...{ python: '>=3.11', node: '>=22' },
      ...{
        packages: { python: '>=9', node: '>=9', 'npm:onnx': '>=9' },
        npm: { python: '>=9', node: '>=9', onnx: '>=9' },
      },
    };
    const { unstated, mismatches } = checkRuntime(Requires.parse(requires), { python: '3.10', node: '20.0.0' }, 'x');
    expect(mismatches.map(({ name, expected }) => [name, expected])).toEqual([
      ['python', '>=3.11'],
      ['node', '>=22'],
    ]);
    expect(unstated).toHaveLength(6);
  });

  test.each(['constructor', 'toString', 'hasOwnProperty'])('may be %s', (name) => {
    const requires = Requires.parse({ packages: { [name]: '>=2' } });
    expect(checkRuntime(requires, {}, 'x').unstated).toEqual([packageName(name)]);
    expect(checkRuntime(requires, { packages: {} }, 'x').unstated).toEqual([packageName(name)]);
    expect(checkRuntime(requires, { packages: { [name]: '1' } }, 'x').mismatches).toHaveLength(1);
  });

  test.each(['packages', 'npm'])('may not be __proto__ in %s', (field) => {
    const runtime = JSON.parse(`{"${field}":{"__proto__":"1.0.0"}}`);
    expect(Runtime.safeParse(runtime).success).toBe(false);
    expect(Requires.safeParse(JSON.parse(`{"${field}":{"__proto__":">=1.0.0"}}`)).success).toBe(false);
  });
});

test('a required name that is missing from the runtime is no mismatch; one that is not required is ignored', () => {
  const check = checkRuntime({ python: '>=3.11', packages: { joblib: '>=1.4' } }, { npm: { joblib: '1.0.0' } }, 'x');
  expect(check).toEqual({ mismatches: [], unstated: ['python', 'joblib'] });
});

describe('a version in metadata becomes', () => {
  test.each([
    ['3.11.7', '~=3.11.0'],
    ['3.11.7 (main, Dec  8 2023, 14:22:46) [GCC 13.2.0]', '~=3.11.0'],
    ['3.11', '~=3.11.0'],
    ['1.5.1', '~=1.5.0'],
    [' 1.5.1\n', '~=1.5.0'],
    ['v1.5.1', '~=1.5.0'],
    ['3', '~=3.0'],
    ['1.5.0rc1', '~=1.5.0rc1'],
    ['1.5rc1', '~=1.5.0rc1'],
    ['1.5.0-alpha', '~=1.5.0a0'],
    ['1.5.0.dev3', '~=1.5.0.dev3'],
    ['1.5.0a1.dev2', '~=1.5.0a1.dev2'],
    ['1.5.2rc1', '~=1.5.0'],
    ['1.5.1.post1', '~=1.5.0'],
    ['2.1.0+cu118', '~=2.1.0'],
    ['1!2.3.4', '~=1!2.3.0'],
  ])('the same minor release for %j: %s', (fact, constraint) => expect(constraintFrom(fact)).toBe(constraint));

  test.each(['~=1.5.1', '>=1.5,<2', '==1.5.*', '==1.5.1', '!=1.5.0', '>= 3.11'])('the range %s unchanged', (range) => {
    expect(constraintFrom(range)).toBe(range);
  });

  test.each([
    '',
    ' ',
    'unknown',
    'three',
    'Python 3.11',
    '^1.5',
    '*',
    '1.5.x',
    '3.11.7+ (heads/main)',
    '\ud800',
    '__proto__',
  ])('%j: nothing', (text) => expect(constraintFrom(text)).toBeNull());

  test('nothing if a number is too large', () => {
    expect(constraintFrom(`${'9'.repeat(30)}.1`)).toBeNull();
  });

  const number = fc.nat(30);
  const fact = fc
    .tuple(
      fc.constantFrom('', 'v', '1!'),
      fc.array(number, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('.')),
      fc.constantFrom('', 'a1', '-beta', 'rc.2', '.RC3', 'c1'),
      fc.constantFrom('', '.post1', '-2', '.rev3'),
      fc.constantFrom('', '.dev0', '.dev4', 'dev'),
      fc.constantFrom('', '+cpu', '+cu11.8'),
    )
    .map((parts) => parts.join(''));

  test('a constraint that the version itself satisfies', () => {
    fc.assert(
      fc.property(fact, (version) => {
        const constraint = constraintFrom(version)!;
        expect(Requires.safeParse({ python: constraint }).success, constraint).toBe(true);
        expect(holds(constraint, version), `${version} in ${constraint}`).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test('a constraint that is valid in a manifest, or nothing', () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.stringMatching(/^[~=<>! 0-9.,*abcrdev]*$/));
    fc.assert(
      fc.property(text, (runtime) => {
        const constraint = constraintFrom(runtime);
        if (constraint !== null) expect(Requires.safeParse({ python: constraint }).success).toBe(true);
        if (isPythonRange(runtime)) expect(() => satisfies('1.5.1', runtime, { prereleases: true })).not.toThrow();
      }),
      { numRuns: 1000 },
    );
  });
});

test.each([
  ['', true],
  ['*', true],
  ['x', true],
  ['>=22', true],
  ['^1.20.0', true],
  ['~1.2', true],
  ['~> 1.2', true],
  ['1.2.3', true],
  ['v1.2.3', true],
  ['= 1.2.3', true],
  ['1.x', true],
  ['1.x.2', false],
  ['>=18 <23', true],
  ['>= 18 || ^16.1.0-beta.2', true],
  ['1.2 - 2.x', true],
  ['1.2.3+build.5', true],
  ['>1.2.3-rc.1 <2', true],
  ['01.2.3', false],
  ['1.2.3.4', false],
  ['latest', false],
  ['^x.1', true],
  ['vv1.2.3', false],
  ['>>1', false],
  ['1 -2', false],
  ['>=9007199254740991.0.0', true],
  ['^9007199254740991', false],
  ['1.2.3 || latest', false],
  ['\t>=1\n', true],
] as [string, boolean][])('%j is a range of node-semver: %s', (node, valid) => {
  expect(Requires.safeParse({ node }).success).toBe(valid);
});
