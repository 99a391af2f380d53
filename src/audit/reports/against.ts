import { isDeepStrictEqual } from 'node:util';
import type { Replay } from '../replay.ts';
import { newModel } from '../rules/state.ts';
import { type EnvironmentAt, type ModelAt, modelAt, registryAt } from './at.ts';

/** The fields of a version in a registry's answer that can be computed from the log. */
export interface ListedVersion {
  version: string;
  status: string;
  notes: string;
  published_at: string;
  published_by: string;
  revision: number;
  manifest_digest: string;
  manifest: unknown;
  active_in: string[];
}

/** One answer of a registry. `revision` is the last revision that the registry had read. */
export type Answer = { revision: number } & (
  | { kind: 'models'; models: { model: string; latest: string | null; active: Record<string, string | null> }[] }
  | { kind: 'versions'; model: string; versions: ListedVersion[] }
  | { kind: 'active'; model: string; environment: string; active: Active }
);

export interface Active {
  version: string;
  manifest_digest: string;
  activated: { at: string; by: string; reason: string | null; revision: number };
}

/** A value in a registry's answer that differs from the log. */
export interface Difference {
  revision: number;
  model: string | null;
  /** The part of the model that differs: `latest`, `active in production`, `1.0.0 notes`. */
  what: string;
  expected: unknown;
  actual: unknown;
}

/** Compares an answer with the log, replayed to the answer's revision. */
export function differencesOf(answer: Answer, { models }: Replay): Difference[] {
  const found: Difference[] = [];
  const compare = (model: string, what: string, expected: unknown, actual: unknown) => {
    if (isDeepStrictEqual(expected, actual)) return;
    found.push({ revision: answer.revision, model, what, expected, actual });
  };
  const stateOf = (name: string) => modelAt(models.get(name) ?? newModel(name));
  if (answer.kind === 'models') {
    for (const { model, latest, active } of answer.models) {
      const at = stateOf(model);
      compare(model, 'latest', at.latest, latest);
      for (const [name, version] of Object.entries(active)) {
        compare(model, `active in ${name}`, at.environments[name]?.version ?? null, version);
      }
    }
  } else if (answer.kind === 'active') {
    const { model, environment, active } = answer;
    compare(model, `active in ${environment}`, activeAt(stateOf(model).environments[environment]), active);
  } else {
    const at = stateOf(answer.model);
    for (const listed of answer.versions) compareVersion(at, listed, (...args) => compare(answer.model, ...args));
  }
  return found;
}

/** Returns the models and versions of the log, at the revision of the first answer, that no answer lists. */
export function missingIn(answers: Answer[], replay: Replay): Difference[] {
  const models = new Set(
    answers.flatMap((answer) => (answer.kind === 'models' ? answer.models.map(({ model }) => model) : [])),
  );
  const named = new Set<string>();
  for (const answer of answers) {
    if (answer.kind === 'versions') for (const { version } of answer.versions) named.add(`${answer.model} ${version}`);
  }
  return registryAt(replay).flatMap(({ model, versions }) => {
    const unlisted = { revision: replay.revision, model, expected: 'listed', actual: 'not listed' };
    if (versions.length > 0 && !models.has(model)) return [{ ...unlisted, what: 'the model' }];
    return versions
      .filter(({ version }) => !named.has(`${model} ${version}`))
      .map(({ version }) => ({ ...unlisted, what: version }));
  });
}

function activeAt(at: EnvironmentAt | undefined): Active | null {
  if (!at || at.version === null) return null;
  const activated = { at: at.since!, by: at.by!, reason: at.reason, revision: at.revision! };
  return { version: at.version, manifest_digest: at.manifest_digest!, activated };
}

const FIELDS = ['status', 'notes', 'published_at', 'published_by', 'revision', 'manifest_digest', 'manifest'] as const;

function compareVersion(
  at: ModelAt,
  listed: ListedVersion,
  compare: (what: string, expected: unknown, actual: unknown) => void,
): void {
  const { version, active_in } = listed;
  const known = at.versions.find((candidate) => candidate.version === version);
  if (!known) {
    compare(version, 'not published', 'listed');
    return;
  }
  for (const field of FIELDS) compare(`${version} ${field}`, known[field], listed[field]);
  compare(`${version} active_in`, [...known.active_in].sort(), [...active_in].sort());
}
