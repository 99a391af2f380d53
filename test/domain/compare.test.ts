import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ComparedField, type ComparedVersion, compareFields } from '../../src/domain/compare.ts';
import { canonicalManifest, Manifest } from '../../src/domain/manifest.ts';

const digest = (digit: string) => `sha256:${digit.repeat(64)}` as const;

/** A version with this content, and with everything else as every other one. */
function version(name: string, fields: object, rest: Partial<ComparedVersion> = {}): ComparedVersion {
  const manifest = Manifest.parse({ artifacts: [{ path: 'model.bin', digest: digest('0'), size: 1 }], ...fields });
  const published = { published_at: '2026-03-03T14:05:00Z', published_by: 'ana', revision: 7 };
  const state = {
    status: 'ready' as const,
    active_in: ['staging'],
    notes: '',
    manifest_digest: digest('f'),
    ...published,
  };
  return { version: name, ...state, manifest, ...rest };
}

const differing = (...versions: ComparedVersion[]) => [...compareFields(versions)].filter(({ differs }) => differs);
const byName = (versions: ComparedVersion[]) =>
  [...compareFields(versions)].sort((x, y) => (x.field < y.field ? -1 : 1));
const namesOf = (fields: ComparedField[]) => fields.map(({ field }) => field);

/** Names that a plain object or a dotted path could confuse; few, so that two manifests have some in common. */
const Name = fc.constantFrom('a', 'b', 'a.b', 'constructor', 'toString', 'packages.a', '');
const PathName = fc.constantFrom('a', 'b.bin', '__proto__', 'constructor', 'd/e.f');
const Value = fc.oneof(fc.constantFrom(0, -0, 1, 0.5, 1e300, -1e300), fc.integer({ min: 0, max: 3 }));
const Scalar = fc.oneof(Value, fc.constantFrom('', '1', 'x', null, true, false));
const Nested = fc.oneof(Scalar, fc.dictionary(fc.constantFrom('x', 'y'), Scalar), fc.array(Scalar, { maxLength: 2 }));
const Range = fc.constantFrom('~=3.11.0', '>=1', '^1.0.0');
const PythonRange = fc.constantFrom('~=3.11.0', '>=1');
const Content = fc.record(
  {
    flavor: fc.constantFrom('custom', 'sklearn'),
    artifacts: fc.uniqueArray(PathName, { minLength: 1 }).chain((paths) =>
      fc.tuple(
        ...paths.map((path) =>
          fc.record(
            {
              path: fc.constant(path),
              digest: fc.constantFrom(digest('1'), digest('2')),
              size: fc.nat(1),
              source: fc.constantFrom('s3://datasets/a', 's3://datasets/b'),
            },
            { requiredKeys: ['path', 'digest', 'size'] },
          ),
        ),
      ),
    ),
    requires: fc.record(
      {
        python: PythonRange,
        node: fc.constant('^24.0.0'),
        packages: fc.dictionary(fc.constantFrom('a', 'b'), PythonRange),
        npm: fc.dictionary(fc.constantFrom('a', 'constructor'), fc.constant('^1.0.0')),
      },
      { requiredKeys: [] },
    ),
    metrics: fc.dictionary(Name, Value),
    params: fc.dictionary(Name, Scalar),
    tags: fc.dictionary(Name, Range),
    lineage: fc.dictionary(Name, Nested),
    signature: Nested,
  },
  { requiredKeys: [] },
);

/** Puts the manifest of a version together again from the fields. */
function rebuilt(fields: ComparedField[], name: string): string {
  const manifest: Record<string, unknown> = { requires: {} };
  const artifacts: object[] = [];
  for (const { field, values } of fields) {
    if (!Object.hasOwn(values, name)) continue;
    const [, section, key] = /^(requires\.packages|requires\.npm|\w+)\.(.*)$/s.exec(field) ?? [];
    if (section === undefined) manifest[field] = values[name];
    else if (section === 'files') artifacts.push({ path: key, ...(values[name] as object) });
    else entriesAt(manifest, section)[key!] = values[name];
  }
  const known = Object.keys(Manifest.shape).filter((key) => key in manifest);
  const content = Object.fromEntries(known.map((key) => [key, manifest[key]]));
  return canonicalManifest(Manifest.parse({ ...content, artifacts }));
}

function entriesAt(manifest: Record<string, unknown>, section: string): Record<string, unknown> {
  let entries = manifest;
  for (const part of section.split('.')) {
    entries[part] ??= {};
    entries = entries[part] as Record<string, unknown>;
  }
  return entries;
}

/** An empty map of packages states as much as none. */
function withoutEmpty({ requires: { packages, npm, ...interpreters }, ...manifest }: Manifest): Manifest {
  const full = (named: object | undefined) => named && Object.keys(named).length > 0;
  return {
    ...manifest,
    requires: {
      ...interpreters,
      ...(full(packages) && { packages }),
      ...(full(npm) && { npm }),
    } as Manifest['requires'],
  };
}

describe('comparing versions', () => {
  it('finds no difference between equal manifests', () => {
    fc.assert(
      fc.property(Content, (content) => {
        const reversed = { ...content, ...(content.artifacts && { artifacts: content.artifacts.toReversed() }) };
        expect(differing(version('1.0.0', content), version('1.1.0', reversed))).toEqual([]);
      }),
    );
  });

  it('loses no value of any manifest, and marks exactly the fields that differ', () => {
    fc.assert(
      fc.property(fc.array(Content, { minLength: 2, maxLength: 4 }), (contents) => {
        const versions = contents.map((content, i) => version(`1.${i}.0`, content));
        const fields = [...compareFields(versions)];
        expect(new Set(namesOf(fields)).size).toBe(fields.length);
        for (const { version: name, manifest } of versions) {
          expect(rebuilt(fields, name)).toBe(canonicalManifest(withoutEmpty(manifest)));
        }
        for (const { field, values, differs } of fields) {
          const texts = versions.map(
            ({ version: name }) => `${Object.hasOwn(values, name)} ${canonicalize(values[name])}`,
          );
          expect(differs, field).toBe(new Set(texts).size > 1);
        }
        expect(JSON.parse(JSON.stringify(fields))).toHaveLength(fields.length);
      }),
    );
  });

  it('does not depend on the order of the versions, except for what is relative to the first', () => {
    fc.assert(
      fc.property(Content, Content, (one, other) => {
        const [a, b] = [version('1.0.0', one), version('2.0.0', other)];
        const [there, back] = [byName([a, b]), byName([b, a])];
        expect(namesOf(back)).toEqual(namesOf(there));
        for (const [i, { differs, values, difference, change }] of there.entries()) {
          const mirrored = back[i]!;
          expect([mirrored.differs, mirrored.values]).toEqual([differs, values]);
          if (difference?.['2.0.0']) expect(mirrored.difference).toEqual({ '1.0.0': -difference['2.0.0'] });
          const opposite = { added: 'removed', removed: 'added', changed: 'changed' };
          if (change) expect(mirrored.change).toEqual({ '1.0.0': opposite[change['2.0.0']!] });
        }
      }),
    );
  });

  it('compares status, notes and publication, too', () => {
    const changed = { status: 'archived' as const, active_in: [], notes: 'old', published_by: 'ben', revision: 9 };
    const fields = differing(version('1.0.0', {}), version('1.1.0', {}, changed));
    expect(namesOf(fields)).toEqual(['status', 'active_in', 'notes', 'published_by', 'revision']);
    expect(fields[0]!.values).toEqual({ '1.0.0': 'ready', '1.1.0': 'archived' });
  });

  it('states the difference of each metric to the first version that is a finite number', () => {
    const metrics = [{ auc: 0.5, loss: 1e308 }, { auc: 0.75, loss: -1e308 }, { f1: 1 }];
    const fields = differing(...metrics.map((values, i) => version(`1.${i}.0`, { metrics: values })));
    expect(fields).toEqual([
      { field: 'metrics.auc', differs: true, values: { '1.0.0': 0.5, '1.1.0': 0.75 }, difference: { '1.1.0': 0.25 } },
      { field: 'metrics.loss', differs: true, values: { '1.0.0': 1e308, '1.1.0': -1e308 }, difference: {} },
      { field: 'metrics.f1', differs: true, values: { '1.2.0': 1 } },
    ]);
  });

  it('tells files that were added, removed and changed', () => {
    const file = (path: string, digit: string, size = 1) => ({ path, digest: digest(digit), size });
    const fields = differing(
      version('1.0.0', { artifacts: [file('a', '1'), file('b', '1'), file('same', '1')] }),
      version('1.1.0', { artifacts: [file('a', '2'), file('c', '1', 3), file('same', '1')] }),
    );
    expect(fields.map(({ field, change }) => [field, change?.['1.1.0']])).toEqual([
      ['files.a', 'changed'],
      ['files.b', 'removed'],
      ['files.c', 'added'],
    ]);
    expect(fields[2]!.values).toEqual({ '1.1.0': { digest: digest('1'), size: 3 } });
  });

  it('tells a parameter that is null from one that is missing', () => {
    const [field] = differing(version('1.0.0', { params: { depth: null } }), version('1.1.0', {}));
    expect(field).toEqual({ field: 'params.depth', differs: true, values: { '1.0.0': null } });
  });
});
