import { describe, expect, test } from 'vitest';
import { activate } from '../../src/commands/activate.ts';
import { publish } from '../../src/commands/publish.ts';
import { canonicalManifest, digestOf } from '../../src/domain/manifest.ts';
import { ModelInMemory } from '../support/model-in-memory.ts';
import { activated, archived, did, file, given, published } from './support.ts';

const body = (fields: object) => ({ artifacts: [file()], ...fields });

test('publishes a version with its manifest, the manifest’s digest and the notes', () => {
  const input = { flavor: 'sklearn', metrics: { auc: 0.91 }, requires: { python: '>=3.11' } };
  const manifest = { artifacts: [file()], ...input, params: {}, tags: {}, lineage: {}, signature: null };
  given()
    .when(publish, { version: '1.0.0', notes: 'first', artifacts: [file()], ...input })
    .gives('version.published', {
      version: '1.0.0',
      manifest,
      manifest_digest: digestOf(canonicalManifest(manifest)),
      notes: 'first',
      active: { production: null, staging: null, dev: null },
    });
});

test('publishing moves no environment: the active map has every revision', () => {
  const { when, model } = given(published('1.0.0'), activated('1.0.0'));
  const { manifest_digest } = model.versions.get('1.0.0')!;
  when(publish, body({ version: '1.1.0' })).gives('version.published', {
    active: {
      production: { version: '1.0.0', manifest_digest, published_revision: 1, revision: 2 },
      staging: null,
      dev: null,
    },
  });
});

describe('a version that was published before', () => {
  const history = given(published('1.0.0', { tags: { a: '1', b: '2' } }), published('1.1.0'));

  test('is unchanged if the content is the same', () => {
    history.when(publish, body({ version: '1.0.0', tags: { b: '2', a: '1' } })).changesNothing(1);
  });

  test('is unchanged if only the notes differ: notes are not part of the content', () => {
    history.when(publish, body({ version: '1.0.0', tags: { a: '1', b: '2' }, notes: 'other' })).changesNothing(1);
  });

  test('with the same content needs no bytes in the store', () => {
    const missing = [file()];
    history.when(publish, body({ version: '1.1.0' }), { missing }).changesNothing(2);
  });

  test('refuses other content and names both digests', () => {
    const { manifest, manifest_digest: expected } = history.model.versions.get('1.0.0')!;
    const actual = digestOf(canonicalManifest({ ...manifest, tags: {} }));
    expect(actual).not.toBe(expected);
    const fields = { version: '1.0.0', expected, actual };
    history.when(publish, body({ version: '1.0.0' })).isRefused('version-exists', fields);
  });

  test('keeps its number when it is archived', () => {
    const { when } = given(published('1.0.0'), archived('1.0.0'));
    when(publish, body({ version: '1.0.0', flavor: 'onnx' })).isRefused('version-exists');
    when(publish, body({ version: '1.0.0' })).changesNothing(1);
  });
});

describe('bytes', () => {
  test('that are missing refuse the version, naming the first file', () => {
    const [first, second] = [file('a.bin'), file('b.bin')];
    given()
      .when(publish, { version: '1.0.0', artifacts: [first, second] }, { missing: [second!] })
      .isRefused('artifact-missing', { path: 'b.bin', digest: second!.digest });
  });

  test('of another size refuse the version with both sizes', () => {
    const { path, digest, size } = file('a.bin');
    given()
      .when(
        publish,
        { version: '1.0.0', artifacts: [file('a.bin')] },
        { missing: [{ ...file('a.bin'), stored_size: 7 }] },
      )
      .isRefused('checksum-mismatch', { path, digest, expected: size, actual: 7 });
  });

  test('of other versions do not matter', () => {
    const missing = [file('elsewhere.bin')];
    given()
      .when(publish, body({ version: '1.0.0' }), { missing })
      .gives('version.published');
  });
});

describe('bump', () => {
  test.each([
    ['major', '1.0.0'],
    ['minor', '0.1.0'],
    ['patch', '0.0.1'],
  ])('%s makes the first version %s', (bump, version) => {
    given().when(publish, body({ bump })).gives('version.published', { version });
  });

  test.each([
    ['major', '2.0.0'],
    ['minor', '1.11.0'],
    ['patch', '1.10.1'],
  ])('%s follows the highest release: %s', (bump, version) => {
    const { when } = given(published('1.10.0'), published('1.9.3'), published('2.0.0-rc.1'));
    when(publish, body({ bump })).gives('version.published', { version });
  });

  test('counts archived versions, which keep their number', () => {
    const { when } = given(published('1.0.0'), published('1.1.0'), archived('1.1.0'));
    when(publish, body({ bump: 'minor' })).gives('version.published', { version: '1.2.0' });
  });

  test('releases the highest pre-release if there are only pre-releases', () => {
    const { when } = given(published('1.0.0-rc.1'), published('1.0.0-rc.2'));
    when(publish, body({ bump: 'major' })).gives('version.published', { version: '1.0.0' });
  });

  test('refuses if there is no next number', () => {
    const { when } = given(published('9007199254740991.0.0'));
    when(publish, body({ bump: 'major' })).isRefused('invalid-request');
    when(publish, body({ bump: 'minor' })).gives('version.published', { version: '9007199254740991.1.0' });
  });
});

describe('the input', () => {
  const accepts = (fields: unknown) => publish.input.safeParse(fields).success;

  test('needs either a version or a bump', () => {
    expect(accepts(body({}))).toBe(false);
    expect(accepts(body({ version: '1.0.0', bump: 'minor' }))).toBe(false);
    expect(accepts(body({ bump: 'minor' }))).toBe(true);
  });

  test.each([
    ['no artefacts', { version: '1.0.0', artifacts: [] }],
    ['an unknown field', body({ version: '1.0.0', colour: 'red' })],
    ['a version that is not canonical', body({ version: 'v1.0.0' })],
    ['a metric that is no number', body({ version: '1.0.0', metrics: { auc: '0.9' } })],
    ['notes over 16 KiB', body({ version: '1.0.0', notes: 'é'.repeat(8 * 1024 + 1) })],
    ['an actor', body({ version: '1.0.0', actor: 'eve' })],
  ])('refuses %s', (_, input) => expect(accepts(input)).toBe(false));

  test('accepts notes of exactly 16 KiB', () => {
    expect(accepts(body({ version: '1.0.0', notes: 'é'.repeat(8 * 1024) }))).toBe(true);
  });
});

test('a manifest over 256 KiB is refused', () => {
  const params = (length: number) => body({ version: '1.0.0', params: { text: 'x'.repeat(length) } });
  given()
    .when(publish, params(256 * 1024))
    .isRefused('too-large');
  given()
    .when(publish, params(255 * 1024))
    .gives('version.published');
});

test('names that objects inherit are ordinary names', () => {
  const names = { constructor: 1, toString: 2, hasOwnProperty: 3 };
  const tags = { constructor: 'a', valueOf: 'b' };
  const requires = { packages: { constructor: '>=1.0' }, npm: { constructor: '^1.0.0' } };
  const { model } = given(
    did(
      publish,
      body({ version: '1.0.0', metrics: names, params: names, tags, requires, lineage: { constructor: {} } }),
    ),
  );
  const { manifest } = model.versions.get('1.0.0')!;
  expect(manifest).toMatchObject({ metrics: names, params: names, tags, requires, lineage: { constructor: {} } });
});

test.each([
  ['metrics', '{"__proto__":1}'],
  ['params', '{"__proto__":1}'],
  ['tags', '{"__proto__":"x"}'],
  ['lineage', '{"__proto__":1}'],
  ['lineage', '{"git":[{"__proto__":1}]}'],
  ['signature', '{"inputs":{"__proto__":1}}'],
  ['requires', '{"packages":{"__proto__":"1.0"}}'],
  ['requires', '{"npm":{"__proto__":"1.0.0"}}'],
])('a key __proto__ in %s is refused, not lost: %s', (field, json) => {
  const refused = publish.input.safeParse(body({ version: '1.0.0', [field]: JSON.parse(json) }));
  expect(refused.success).toBe(false);
});

test.each(['lineage', 'signature'])('refuses a deeply nested %s', (field) => {
  const nested = JSON.parse(`{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`);
  expect(publish.input.safeParse(body({ version: '1.0.0', [field]: nested })).success).toBe(false);
});

describe('an artifact with a source', () => {
  const SOURCE = 's3://datasets/fraud.onnx';
  const referred = { ...file('fraud.onnx'), source: SOURCE };
  const { path: _, ...reference } = { ...referred, etag: '"one"' };
  const input = { version: '1.0.0', artifacts: [referred, file()] };

  test('is published with what was found at the source', () => {
    given()
      .when(publish, input, { verified: [reference] })
      .gives('version.published', {
        manifest: expect.objectContaining({ artifacts: [referred, file()] }),
        verified: [{ source: SOURCE, etag: '"one"' }],
      });
  });

  test('need not be in the store; the others must', () => {
    const missing = (artifact: { path: string }) => ({ verified: [reference], missing: [{ ...file(), ...artifact }] });
    given().when(publish, input, missing(referred)).gives('version.published');
    given().when(publish, input, missing(file())).isRefused('artifact-missing', { path: 'model.joblib' });
  });

  test.each([
    ['nothing', []],
    ['another digest', [{ ...reference, digest: file('other').digest }]],
    ['another size', [{ ...reference, size: 1 }]],
    ['another source', [{ ...reference, source: 's3://datasets/other.onnx' }]],
  ])('is refused if %s was verified', (_, verified) => {
    given().when(publish, input, { verified }).isRefused('artifact-missing', { path: 'fraud.onnx', source: SOURCE });
  });

  test('is not read again for a version that exists', () => {
    const { model } = given(did(publish, input, { verified: [reference] }));
    const parsed = publish.input.parse(input);
    expect(publish.sources!(new ModelInMemory('fraud'), parsed)).toEqual([referred]);
    expect(publish.sources!(model, parsed)).toEqual([]);
    given(did(publish, input, { verified: [reference] }))
      .when(publish, input)
      .changesNothing(1);
    const other = { ...input, artifacts: [referred] };
    given(did(publish, input, { verified: [reference] }))
      .when(publish, other)
      .isRefused('version-exists');
  });

  test('is activated while its object is as it was', () => {
    const history = given(did(publish, input, { verified: [reference] }));
    history.when(activate, { version: '1.0.0' }).gives('version.activated');
    history
      .when(activate, { version: '1.0.0' }, { missing: [referred] })
      .isRefused('reference-changed', { source: SOURCE, path: 'fraud.onnx' });
  });
});
