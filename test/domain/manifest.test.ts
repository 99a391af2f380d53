import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Artifact, canonicalManifest, digestOf, isArtifactPath, Manifest } from '../../src/domain/manifest.ts';

const digest = `sha256:${'0'.repeat(64)}` as const;
const file = (path: string): Artifact => ({ path, digest, size: 1 });
const manifest = (fields: object = {}) => Manifest.parse({ artifacts: [file('model.joblib')], ...fields });
const accepts = (...paths: string[]) => Manifest.safeParse({ artifacts: paths.map(file) }).success;

describe('a path', () => {
  test.each(['model.joblib', 'a/b/c.onnx', '.hidden', '...', 'a b', 'né.bin', '模型.onnx', 'constructor', '__proto__'])(
    'may be %j',
    (path) => expect(accepts(path)).toBe(true),
  );

  test.each([
    ...['', '.', '..', '../x', 'a/../x', 'a/..', './x', 'a/./b', '/etc/passwd', '/', 'a/', 'a//b', '//a'],
    ...['a\\b', '..\\x', 'C:\\x', 'C:x', 'a:stream', 'a*', 'a?', 'a"b', 'a<b', 'a>b', 'a|b'],
    ...['a\u0000', 'a\n', '\u007f', '\u001b[2J'],
    ...['x'.repeat(256), 'é'.repeat(128), `${'a/'.repeat(512)}ab`],
  ])('may not be %j', (path) => expect(accepts(path)).toBe(false));

  test('never leaves the folder it is resolved against', () => {
    const segment = fc.constantFrom('..', '.', '', 'a', '...', '\\', 'C:', '\u0000', ' ', '~', '%2e%2e');
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 5 }), (segments) => {
        const path = segments.join('/');
        if (!isArtifactPath(path)) return;
        const { pathname } = new URL(`file:///base/${path.split('/').map(encodeURIComponent).join('/')}`);
        expect(pathname.startsWith('/base/')).toBe(true);
        expect(path.split('/').some((part) => part === '..' || part === '.' || part === '')).toBe(false);
      }),
    );
  });
});

describe('paths of one manifest', () => {
  test('may share folders', () => expect(accepts('a/b', 'a/c', 'a/d/e', 'ab', 'a.b')).toBe(true));

  test.each([
    ['the same path twice', 'a/b', 'a/b'],
    ['that differ only in case', 'Model.bin', 'model.BIN'],
    ['whose folders differ only in case', 'A/x', 'a/X'],
    ['that differ only in Unicode form', 'é.bin', 'e\u0301.bin'],
    ['with a file under a file', 'a', 'a/b'],
    ['with a file far under a file, in another case', 'A/b', 'a/B/c/d'],
  ])('are refused %s', (_, one, other) => {
    expect(accepts(one, other)).toBe(false);
    expect(accepts(other, one)).toBe(false);
  });

  test('number from one to a thousand', () => {
    const paths = Array.from({ length: 1001 }, (_, i) => `file-${i}`);
    expect(accepts()).toBe(false);
    expect(accepts(...paths.slice(1))).toBe(true);
    expect(accepts(...paths)).toBe(false);
  });
});

test.each([
  ['a digest in upper case', { ...file('a'), digest: digest.replace('0', 'A') }],
  ['a digest of another kind', { ...file('a'), digest: `md5:${'0'.repeat(64)}` }],
  ['a digest that is too short', { ...file('a'), digest: digest.slice(0, -1) }],
  ['a negative size', { ...file('a'), size: -1 }],
  ['a size that is not an integer', { ...file('a'), size: 1.5 }],
  ['a size beyond what a number holds', { ...file('a'), size: 2 ** 53 }],
  ['an unknown field', { ...file('a'), url: 'https://example.org' }],
])('an artifact may not have %s', (_, artifact) => {
  expect(Manifest.safeParse({ artifacts: [artifact] }).success).toBe(false);
});

test('fields that are left out have their defaults', () => {
  expect(manifest()).toEqual({
    flavor: 'custom',
    artifacts: [file('model.joblib')],
    requires: {},
    metrics: {},
    params: {},
    tags: {},
    lineage: {},
    signature: null,
  });
});

describe('the canonical form', () => {
  const lineageOf = (lineage: object) => /"lineage":(.*),"metrics"/s.exec(canonicalManifest(manifest({ lineage })))![1];

  // RFC 8785, section 3.2.2.
  test('writes numbers, strings and literals as in RFC 8785', () => {
    const example = String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`;
    expect(lineageOf(JSON.parse(example))).toBe(
      `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],` +
        String.raw`"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  // RFC 8785, section 3.2.3.
  test('sorts keys by UTF-16 code units', () => {
    const example = String.raw`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
      "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`;
    expect(Object.keys(JSON.parse(lineageOf(JSON.parse(example))!))).toHaveLength(7);
    expect([...lineageOf(JSON.parse(example))!.matchAll(/:"(\w+)/g)].map(([, word]) => word)).toEqual([
      'Carriage',
      'One',
      'Control',
      'Latin',
      'Euro',
      'Emoji',
      'Hebrew',
    ]);
  });

  // RFC 8785, appendix B.
  test.each([
    [0, '0'],
    [-0, '0'],
    [5e-324, '5e-324'],
    [1.7976931348623157e308, '1.7976931348623157e+308'],
    [9007199254740992, '9007199254740992'],
    [295147905179352830000, '295147905179352830000'],
    [1e21, '1e+21'],
    [9.999999999999997e22, '9.999999999999997e+22'],
    [1e-7, '1e-7'],
    [0.000001, '0.000001'],
    [333333333.3333332, '333333333.3333332'],
    [1424953923781206.2, '1424953923781206.2'],
  ])('writes the metric %d as %s', (number, written) => {
    expect(canonicalManifest(manifest({ metrics: { m: number } }))).toContain(`"metrics":{"m":${written}}`);
  });

  test('has no white space, and all fields in order', () => {
    expect(canonicalManifest(manifest())).toBe(
      `{"artifacts":[{"digest":"${digest}","path":"model.joblib","size":1}],"flavor":"custom","lineage":{},` +
        '"metrics":{},"params":{},"requires":{},"signature":null,"tags":{}}',
    );
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('does not exist for %d', (number) => {
    expect(() => manifest({ metrics: { m: number } })).toThrow();
    expect(() => manifest({ params: { m: number } })).toThrow();
    expect(() => manifest({ signature: { m: number } })).toThrow();
  });

  test('does not exist for a lone surrogate', () => {
    expect(() => canonicalManifest(manifest({ tags: { a: '\ud800' } }))).toThrow();
    expect(() => canonicalManifest(manifest({ tags: { '\udc00': 'a' } }))).toThrow();
  });
});

const names = fc.dictionary(fc.string({ unit: 'grapheme', maxLength: 4 }), fc.string({ unit: 'grapheme' }), {
  noNullPrototype: true,
});
const json = fc.jsonValue({ maxDepth: 3, stringUnit: 'grapheme' });
const fields = fc.record({
  flavor: fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 8 }),
  artifacts: fc
    .uniqueArray(fc.stringMatching(/^[a-z]{1,4}$/), { minLength: 1, maxLength: 6 })
    .map((paths) => paths.map(file)),
  metrics: fc.dictionary(fc.string({ unit: 'grapheme' }), fc.double({ noNaN: true, noDefaultInfinity: true }), {
    noNullPrototype: true,
  }),
  tags: names,
  params: names,
  lineage: fc.dictionary(fc.string({ unit: 'grapheme' }), json, { noNullPrototype: true }),
  signature: json,
});
/** A value that the schema accepts, without the key `__proto__`. */
const manifests = fields
  .map((given) => Manifest.safeParse(given).data)
  .filter((parsed): parsed is Manifest => parsed !== undefined);

function shuffled(value: unknown, turn: number): unknown {
  if (Array.isArray(value)) return value.map((item) => shuffled(item, turn));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, shuffled(item, turn)] as const);
  const at = turn % (entries.length || 1);
  return Object.fromEntries([...entries.slice(at), ...entries.slice(0, at)].reverse());
}

describe('the digest', () => {
  const digestFor = (of: Manifest) => digestOf(canonicalManifest(of));

  test('does not depend on the order of keys and artifacts', () => {
    fc.assert(
      fc.property(manifests, fc.nat(7), (of, turn) => {
        const other = shuffled(of, turn) as Manifest;
        expect(digestFor({ ...other, artifacts: other.artifacts.toReversed() })).toBe(digestFor(of));
      }),
    );
  });

  test('is the same after a round trip through JSON', () => {
    fc.assert(
      fc.property(manifests, (of) => {
        expect(digestFor(Manifest.parse(JSON.parse(JSON.stringify(of))))).toBe(digestFor(of));
        expect(JSON.parse(canonicalManifest(of))).toEqual(
          JSON.parse(
            JSON.stringify({
              ...of,
              artifacts: of.artifacts.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
            }),
          ),
        );
      }),
    );
  });

  test('does not modify the manifest', () => {
    const of = manifest({ artifacts: [file('b'), file('a')] });
    const before = structuredClone(of);
    digestFor(of);
    expect(of).toEqual(before);
  });

  test.each([
    ['the flavor', { flavor: 'onnx' }],
    ['a path', { artifacts: [file('a2'), file('b')] }],
    ['a size', { artifacts: [{ ...file('a'), size: 2 }, file('b')] }],
    ['a digest', { artifacts: [{ ...file('a'), digest: `sha256:${'1'.repeat(64)}` }, file('b')] }],
    ['one artifact less', { artifacts: [file('a')] }],
    ['a constraint', { requires: { python: '>=3.12' } }],
    ['a metric by the last bit', { metrics: { auc: 0.9 + Number.EPSILON } }],
    ['a parameter’s type', { params: { depth: '3' } }],
    ['a tag', { tags: { team: 'B' } }],
    ['a key', { tags: { Team: 'b' } }],
    ['a string’s Unicode form', { tags: { team: 'b', e: 'e\u0301' } }],
    ['an order that means something', { lineage: { data: ['y', 'x'] } }],
    ['null instead of nothing', { params: { depth: 3, seed: null } }],
    ['the signature', { signature: { inputs: {} } }],
  ])('changes with %s', (_, change) => {
    const base = {
      ...{
        flavor: 'sklearn',
        artifacts: [file('a'), file('b')],
        requires: { python: '>=3.11' },
        metrics: { auc: 0.9 },
      },
      ...{ params: { depth: 3 }, tags: { team: 'b' }, lineage: { data: ['x', 'y'] }, signature: { inputs: [] } },
    };
    expect(digestFor(manifest({ ...base, ...change }))).not.toBe(digestFor(manifest(base)));
  });

  test('differs for manifests that differ', () => {
    fc.assert(
      fc.property(manifests, manifests, (one, other) => {
        const same = canonicalManifest(one) === canonicalManifest(other);
        expect(digestFor(one) === digestFor(other)).toBe(same);
      }),
    );
  });
});
