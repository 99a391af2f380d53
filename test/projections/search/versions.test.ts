import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Cursor } from '../../../src/projections/search/order.ts';
import { countVersions, findVersions } from '../../../src/projections/search/versions.ts';
import { filters, orders } from '../../search/filters.ts';
import { type Entry, inOrder, meets } from './naive.ts';
import { environmentsOf, versionsOfModel } from './random.ts';
import { addModel, addVersion, emptyReadModel, setActive, type Version } from './read-model.ts';

const MODEL = 7;

/** From none to more than there are, so that every way to a page is taken. */
const thresholds = fc.record({
  few: fc.constantFrom(1, 5, 100),
  glance: fc.constantFrom(1, 3, 100),
});

test('every page has what a search without a database finds, while versions are published', () => {
  fc.assert(
    fc.property(
      versionsOfModel,
      environmentsOf,
      fc.option(filters('versions')),
      orders('versions'),
      fc.integer({ min: 1, max: 5 }),
      thresholds,
      (all, environments, filter, order, limit, thresholds) => {
        const versions = [...all];
        const db = emptyReadModel();
        addModel(db, MODEL, 'm');
        addModel(db, 8, 'other');
        const later = versions.splice(Math.ceil(versions.length / 2));
        const published: Version[] = [];
        const publish = (version: Version) => {
          addVersion(db, MODEL, version);
          published.push(version);
          addVersion(db, 8, { ...version, revision: version.revision + 1 });
        };
        versions.forEach(publish);
        const active = (version: Version) =>
          Object.keys(environments).filter((name) => versions[environments[name]!]?.version === version.version);
        for (const [name, index] of Object.entries(environments))
          setActive(db, MODEL, name, versions[index]?.version ?? null);

        const entries = (): Entry[] => published.map((version) => ({ version, active: active(version) }));
        const expected = () =>
          entries()
            .filter((entry) => filter === null || meets(filter, entry))
            .sort((a, b) => inOrder(order, a, b) || b.version!.revision - a.version!.revision)
            .map(({ version }) => version!.revision);

        expect(countVersions(db, MODEL, filter, 1000)).toBe(expected().length);
        expect(countVersions(db, MODEL, filter, 2)).toBe(Math.min(expected().length, 2));
        const old = new Set(expected());
        const found: number[] = [];
        for (let after: Cursor | null = null; ; ) {
          const page = findVersions(db, { model: MODEL, filter, order, after, limit }, thresholds);
          const now = expected();
          const behind = found.length === 0 ? 0 : now.indexOf(found.at(-1)!) + 1;
          expect(page.map(({ revision }) => revision)).toEqual(now.slice(behind, behind + limit));
          found.push(...page.map(({ revision }) => revision));
          if (page.length < limit) break;
          after = JSON.parse(JSON.stringify(page.at(-1)!.cursor));
          if (later.length > 0) publish(later.shift()!);
        }
        expect(new Set(found).size).toBe(found.length);
        expect([...old].filter((revision) => !found.includes(revision))).toEqual([]);
        db.close();
      },
    ),
    { numRuns: 500 },
  );
});
