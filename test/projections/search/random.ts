import fc from 'fast-check';
import {
  digestOf,
  ENVIRONMENTS,
  FLAVORS,
  KEYS,
  NUMBERS,
  PUBLISHERS,
  TEXTS,
  VERSIONS,
  WORDS,
} from '../../search/filters.ts';
import type { Version } from './read-model.ts';

const names = fc.uniqueArray(
  fc.oneof(
    fc.constantFrom(...VERSIONS),
    fc.tuple(fc.nat(12), fc.nat(12)).map(([minor, patch]) => `1.${minor}.${patch}`),
  ),
  { minLength: 1, maxLength: 30 },
);
const attributes = fc.oneof(
  ...KEYS.map((key) =>
    fc.oneof(
      fc.constantFrom(...TEXTS).map((value) => [`tags.${key}`, value] as const),
      fc.constantFrom<string | number>(...TEXTS, ...NUMBERS).map((value) => [`params.${key}`, value] as const),
      fc.constantFrom(...NUMBERS).map((value) => [`metrics.${key}`, value] as const),
    ),
  ),
);

const content = fc.record({
  status: fc.constantFrom('ready' as const, 'archived' as const),
  flavor: fc.constantFrom(...FLAVORS),
  notes: fc.array(fc.constantFrom(...WORDS, 'leak.', '(july)'), { maxLength: 4 }).map((words) => words.join(' ')),
  published_at: fc.integer({ min: Date.parse('2026-04-30T23:00:00Z'), max: Date.parse('2026-05-02T01:00:00Z') }),
  published_by: fc.constantFrom(...PUBLISHERS),
  attributes: fc.array(attributes, { maxLength: 8 }).map((entries) => Object.fromEntries(entries)),
});

/** Versions in the order of their publication. Two are apart by at least two revisions. */
export const versionsOfModel: fc.Arbitrary<Version[]> = names.chain((versions) =>
  fc.array(content, { minLength: versions.length, maxLength: versions.length }).map((contents) =>
    contents.map((version, i) => {
      const revision = 2 * i + 1;
      return { ...version, version: versions[i]!, revision, manifest_digest: digestOf(revision) };
    }),
  ),
);

/** By environment, the index of the active version; beyond the last one: nothing is active. */
export const environmentsOf = fc.dictionary(fc.constantFrom(...ENVIRONMENTS), fc.nat(20));
