import { isDeepStrictEqual } from 'node:util';
import type { Replay } from '../replay.ts';
import { newModel } from '../rules/state.ts';
import { type EnvironmentAt, type ModelAt, modelAt, registryAt } from './at.ts';

/** What a registry said of a version, as far as a log can tell. */
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

/** One answer of a registry, which says up to which revision it knows the log. */
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

/** Something that a registry answers and that does not follow from the log. */
export interface Difference {
  revision: number;
  model: string | null;
  /** What of the model: `latest`, `active in production`, `1.0.0 notes`. */
  what: string;
  expected: unknown;
  actual: unknown;
}

/** Holds an answer against the log, replayed to the answer's revision. */
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
    for (const listed of answer.versions) compareVersion(at, listed, (...told) => compare(answer.model, ...told));
  }
  return found;
}

/** The models and versions of the log, at the revision of the first answer, that no answer names. */
export function missingIn(answers: Answer[], replay: Replay): Difference[] {
  const models = new Set(
    answers.flatMap((answer) => (answer.kind === 'models' ? answer.models.map(({ model }) => model) : [])),
  );
  const named = new Set<string>();
  for (const answer of answers) {
    if (answer.kind === 'versions') for (const { version } of answer.versions) named.add(`${answer.model} ${version}`);
  }
  return registryAt(replay).flatMap(({ model, versions }) => {
    const told = { revision: replay.revision, model, expected: 'listed', actual: 'not listed' };
    if (versions.length > 0 && !models.has(model)) return [{ ...told, what: 'the model' }];
    return versions
      .filter(({ version }) => !named.has(`${model} ${version}`))
      .map(({ version }) => ({ ...told, what: version }));
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
