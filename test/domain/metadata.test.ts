import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mergeRequires, requiresFromMetadata, requiresFromRequirements } from '../../src/domain/metadata.ts';
import { Requires } from '../../src/domain/requires.ts';

describe('constraints from a metadata document', () => {
  const places: [string, (facts: object) => object][] = [
    ['at the top', (facts) => facts],
    ...['runtime', 'environment', 'versions'].map(
      (key) => [`under ${key}`, (facts: object) => ({ [key]: facts })] as never,
    ),
  ];
  const spellings: [string, string, Requires][] = [
    ['python', '3.11.7', { python: '~=3.11.0' }],
    ['python_version', '3.11.7 (main, Dec  8 2023) [GCC]', { python: '~=3.11.0' }],
    ['sklearn', '1.5.1', { packages: { 'scikit-learn': '~=1.5.0' } }],
    ['scikit-learn', '1.5.1', { packages: { 'scikit-learn': '~=1.5.0' } }],
    ['sklearn_version', '>=1.4,<1.6', { packages: { 'scikit-learn': '>=1.4,<1.6' } }],
    ['joblib', '1.4.2', { packages: { joblib: '~=1.4.0' } }],
    ['joblib_version', '>=1.4', { packages: { joblib: '>=1.4' } }],
  ];
  const cases = places.flatMap(([where, put]) =>
    spellings.map(([name, text, expected]) => [name, where, put({ [name]: text, accuracy: 0.9 }), expected] as const),
  );

  test.each(cases)('%s %s', (_name, _where, document, expected) => {
    expect(requiresFromMetadata([document])).toEqual(expected);
  });

  test('come from `requires` before any installed version', () => {
    const requires = { node: '>=22', npm: { 'onnxruntime-node': '~1.30.0' }, packages: { joblib: '>=1.2' } };
    const document = { requires, joblib: '1.4.2', python: '3.11.7' };
    expect(requiresFromMetadata([document])).toEqual({ ...requires, python: '~=3.11.0' });
    for (const wrong of [null, 1, [], 'node', { node: 1 }, { node: 'not a range' }, { extra: {} }]) {
      expect(requiresFromMetadata([{ requires: wrong, joblib: '1.4.2' }])).toEqual({ packages: { joblib: '~=1.4.0' } });
    }
  });

  test('are collected from all places in a document', () => {
    const document = { python: '3.11.7', versions: { sklearn: '1.5.1' }, environment: { joblib_version: '1.4.2' } };
    expect(requiresFromMetadata([document])).toEqual({
      python: '~=3.11.0',
      packages: { 'scikit-learn': '~=1.5.0', joblib: '~=1.4.0' },
    });
  });

  test('come from the first document that has them, and then from the next', () => {
    const documents = [{ runtime: { python: '3.11.7' } }, { python: '3.12.1', sklearn: '1.5.1' }];
    expect(requiresFromMetadata(documents)).toEqual({ python: '~=3.11.0', packages: { 'scikit-learn': '~=1.5.0' } });
  });

  test('come from the top level before nested objects', () => {
    expect(requiresFromMetadata([{ runtime: { python: '3.12.1' }, python_version: '3.11.7' }])).toEqual({
      python: '~=3.11.0',
    });
  });

  test('come from the next place if a value is not a version', () => {
    expect(requiresFromMetadata([{ python: 'unknown', python_version: 3.11, runtime: { python: '3.11' } }])).toEqual({
      python: '~=3.11.0',
    });
  });

  test.each([[[]], [[null]], [['3.11']], [[[{ python: '3.11' }]]], [[42]], [[{}]], [[{ python: null, runtime: [] }]]])(
    'are empty for %j',
    (documents) => expect(requiresFromMetadata(documents)).toEqual({}),
  );

  test('are always valid in a manifest', () => {
    const text = fc.oneof(
      fc.string(),
      fc.stringMatching(/^[~=<>!0-9.,abcrdev]*$/),
      fc.stringMatching(/^\d{1,40}(\.\d{1,40})*$/),
    );
    const document = fc.dictionary(fc.constantFrom('python', 'sklearn', 'joblib', '__proto__', 'constructor'), text);
    fc.assert(
      fc.property(fc.array(document), (documents) => {
        expect(Requires.safeParse(requiresFromMetadata(documents)).error).toBeUndefined();
      }),
    );
  });
});

describe('a line of requirements.txt', () => {
  test.each([
    ['scikit-learn==1.5.1', 'scikit-learn', '~=1.5.0'],
    ['  Scikit_Learn == 1.5.1  ', 'scikit-learn', '~=1.5.0'],
    ['scikit-learn==1.5.1 # pinned', 'scikit-learn', '~=1.5.0'],
    ['scikit-learn==1.5.1 \\', 'scikit-learn', '~=1.5.0'],
    ['scikit-learn==1.5.1 --hash=sha256:0123', 'scikit-learn', '~=1.5.0'],
    ['uvicorn[standard]>=0.30', 'uvicorn', '>=0.30'],
    ['uvicorn [standard] >=0.30', 'uvicorn', '>=0.30'],
    ['mlflow<3,>=2.3', 'mlflow', '<3,>=2.3'],
    ['numpy ~= 1.26.4', 'numpy', '~= 1.26.4'],
    ['numpy==1.26.*', 'numpy', '==1.26.*'],
    ['numpy===1.26.4', 'numpy', '===1.26.4'],
    ['torch==2.1.0+cu118', 'torch', '~=2.1.0'],
    ['constructor==1.0.0', 'constructor', '~=1.0.0'],
    ['\ufeffjoblib==1.4.2', 'joblib', '~=1.4.0'],
  ])('%j', (line, name, constraint) => {
    expect(requiresFromRequirements(line)).toEqual({ packages: { [name]: constraint } });
  });

  test.each([
    ...[
      '',
      '# scikit-learn==1.5.1',
      'scikit-learn',
      '-c constraints.txt',
      '-r more.txt',
      '--index-url https://a.example',
    ],
    ...['-e git+https://a.example/x.git#egg=x', 'x @ https://a.example/x-1.0.whl', 'https://a.example/x-1.0.whl'],
    ...[
      'numpy==1.26; python_version < "3.12"',
      'numpy>=1 ;sys_platform=="win32"',
      './local==1.0',
      '__proto__==1.0',
      'x==latest',
    ],
    ...['    --hash=sha256:0123'],
  ])('without a usable constraint is ignored: %j', (line) => expect(requiresFromRequirements(line)).toEqual({}));

  test('may end with any line break, or none', () => {
    expect(requiresFromRequirements('mlflow==2.14.1\r\nscikit-learn==1.5.1\n\njoblib>=1.4')).toEqual({
      packages: { mlflow: '~=2.14.0', 'scikit-learn': '~=1.5.0', joblib: '>=1.4' },
    });
  });
});

test('the first of several sources that names a package wins', () => {
  const first = { packages: { joblib: '>=1.4' } };
  const second = { python: '~=3.11.0', packages: { joblib: '>=1.0', numpy: '>=1' } };
  const third = { python: '~=3.12.0', node: '>=22' };
  expect(mergeRequires(first, second, third)).toEqual({
    python: '~=3.11.0',
    node: '>=22',
    packages: { joblib: '>=1.4', numpy: '>=1' },
  });
  expect(first).toEqual({ packages: { joblib: '>=1.4' } });
  // A manifest refuses two spellings of one package.
  const spelled = mergeRequires({ packages: { scikit_learn: '>=1.5' } }, { packages: { 'scikit-learn': '>=1.0' } });
  expect(spelled).toEqual({ packages: { scikit_learn: '>=1.5' } });
  expect(mergeRequires()).toEqual({});
  expect(mergeRequires({}, {})).toEqual({});
});
