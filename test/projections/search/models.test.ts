import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { countModels, findModels } from '../../../src/projections/search/models.ts';
import type { Cursor } from '../../../src/projections/search/order.ts';
import { filters, orders } from '../../search/filters.ts';
import { type Entry, inOrder, meets } from './naive.ts';
import { environmentsOf, versionsOfModel } from './random.ts';
import { addModel, addVersion, emptyReadModel, setActive, setLatest, type Version } from './read-model.ts';

interface RandomModel {
  versions: Version[];
  /** The index of its latest version; beyond the last one: it has none. */
  latest: number;
  environments: Record<string, number>;
}

const models: fc.Arbitrary<RandomModel[]> = fc.array(
  fc.record({ versions: versionsOfModel, latest: fc.nat(6), environments: environmentsOf }),
  { maxLength: 8 },
);

/** Fills a read model, and returns what it lists. */
function filled(random: RandomModel[]) {
  const db = emptyReadModel();
  const entries = random.map(({ versions, latest, environments }, i): Entry => {
    const [id, name] = [i + 1, `m${i}`];
    addModel(db, id, name);
    const own = versions.map((version) => ({ ...version, revision: version.revision * 100 + i }));
    for (const version of own) addVersion(db, id, version);
    const version = own[latest] ?? null;
    setLatest(db, id, version?.version ?? null);
    for (const [environment, index] of Object.entries(environments))
      setActive(db, id, environment, own[index]?.version ?? null);
    const active = Object.keys(environments).filter(
      (environment) => version && own[environments[environment]!] === version,
    );
    return { version, active, model: { name, revision: own.at(-1)!.revision, versions: own.length } };
  });
  addModel(db, 100, 'without-versions');
  return { db, entries };
}

describe('the listing of models', () => {
  test('has, page by page, what a search without a database finds', () => {
    const visible = (name: string) => name !== 'm1';
    fc.assert(
      fc.property(
        models,
        fc.option(filters('models')),
        orders('models'),
        fc.integer({ min: 1, max: 3 }),
        (random, filter, order, limit) => {
          const { db, entries } = filled(random);
          const lastChanged = (a: Entry, b: Entry) => (order.length > 0 ? 0 : b.model!.revision - a.model!.revision);
          const expected = entries
            .filter((entry) => visible(entry.model!.name) && (filter === null || meets(filter, entry)))
            .sort((a, b) => inOrder(order, a, b) || lastChanged(a, b) || (a.model!.name < b.model!.name ? -1 : 1))
            .map((entry) => entry.model!.name);
          expect(countModels(db, { filter, visible })).toBe(expected.length);
          const found: string[] = [];
          for (let after: Cursor | null = null; ; ) {
            const page = findModels(db, { filter, order, after, limit, visible });
            found.push(...page.map(({ name }) => name));
            if (page.length < limit) break;
            after = JSON.parse(JSON.stringify(page.at(-1)!.cursor));
          }
          expect(found).toEqual(expected);
          db.close();
        },
      ),
      { numRuns: 300 },
    );
  });
});
