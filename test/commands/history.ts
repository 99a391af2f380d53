import fc from 'fast-check';
import { activate } from '../../src/commands/activate.ts';
import { archive } from '../../src/commands/archive.ts';
import type { Context } from '../../src/commands/command.ts';
import { deactivate } from '../../src/commands/deactivate.ts';
import { declareRuntime } from '../../src/commands/declare-runtime.ts';
import { notes } from '../../src/commands/notes.ts';
import { publish } from '../../src/commands/publish.ts';
import { rollback } from '../../src/commands/rollback.ts';
import { unarchive } from '../../src/commands/unarchive.ts';
import type { ProblemCode } from '../../src/domain/errors.ts';
import { at, file } from './support.ts';

/** A randomly drawn command and its circumstances. */
export interface Asked {
  kind: 'publish' | 'activate' | 'rollback' | 'deactivate' | 'archive' | 'restore' | 'notes' | 'runtime';
  version: string;
  environment: string;
  /** Versions whose bytes are missing. */
  gone: string[];
  /** Whether `old` is among the configured environments. */
  old: boolean;
  wait: number;
  /** How many revisions other models took in between. */
  gap: number;
  flavor: string;
  python: string;
  runs: string;
  force: boolean;
  to_version: string | undefined;
  override: 'runtime'[];
  expected_active: string | null | undefined;
}

const VERSIONS = ['1.0.0', '1.1.0', '2.0.0-rc.1', '2.0.0'];
const version = fc.constantFrom(...VERSIONS);
const rarely = <T, U>(value: fc.Arbitrary<T>, otherwise: U) =>
  fc.oneof({ weight: 7, arbitrary: fc.constant(otherwise) }, { weight: 1, arbitrary: value });
const weighted = (weights: Record<Asked['kind'], number>) =>
  fc.oneof(
    ...Object.entries(weights).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind as Asked['kind']) })),
  );

const asked: fc.Arbitrary<Asked> = fc.record({
  kind: weighted({
    publish: 3,
    activate: 14,
    rollback: 8,
    deactivate: 2,
    archive: 2,
    restore: 3,
    notes: 1,
    runtime: 1,
  }),
  version,
  environment: fc.oneof(
    { weight: 6, arbitrary: fc.constant('production') },
    { weight: 1, arbitrary: fc.constantFrom('constructor', 'old') },
  ),
  gone: rarely(fc.subarray(VERSIONS), []),
  old: fc.boolean(),
  wait: fc.constantFrom(0, 0, 1, 5, 30),
  gap: fc.nat(3),
  flavor: rarely(fc.constant('onnx'), 'sklearn'),
  python: fc.constantFrom('~=3.11.0', '>=3.8', '>=3.8'),
  runs: fc.constantFrom('3.11.7', '3.12.1'),
  force: rarely(fc.constant(true), false),
  to_version: fc.option(version, { nil: undefined, freq: 1 }),
  override: rarely(fc.constant(['runtime' as const]), []),
  expected_active: rarely(fc.option(version), undefined),
});

/** Most histories begin with published versions, so that later commands have something to work on. */
export const history = fc
  .tuple(rarely(fc.constant([]), VERSIONS.slice(0, 3)), fc.array(asked, { minLength: 25, maxLength: 60, size: 'max' }))
  .map(([first, then]) => {
    const published = first.map((version, i) => ({ ...then[i]!, kind: 'publish' as const, version, gone: [] }));
    return [...published, ...then] as Asked[];
  });

export function contextOf(asked: Asked, now: number): Context {
  const environments = ['production', 'constructor', ...(asked.old ? ['old'] : [])];
  const missing = asked.gone.map((name) => file(name));
  return { now: at(now), environments, activationLimit: 3, missing, verified: [], loaders: [] };
}

/** The real command and its input. */
export function commandOf(asked: Asked) {
  const { kind, version, environment, flavor, python, runs, force, to_version, override, expected_active } = asked;
  const artifacts = [file(version)];
  const reason = 'because';
  switch (kind) {
    case 'publish':
      return [publish, { version, flavor, artifacts, requires: { python } }] as const;
    case 'activate':
      return [activate, { version, environment, force, expected_active }] as const;
    case 'rollback':
      return [rollback, { environment, to_version, override, expected_active, reason }] as const;
    case 'deactivate':
      return [deactivate, { environment, reason }] as const;
    case 'archive':
      return [archive, { version }] as const;
    case 'restore':
      return [unarchive, { version }] as const;
    case 'notes':
      return [notes, { version, notes: flavor }] as const;
    case 'runtime':
      return [declareRuntime, { environment, python: runs }] as const;
  }
}

interface Published {
  content: string;
  python: string;
  notes: string;
  archived: boolean;
  revision: number;
}

interface Place {
  /** Everything that was activated and not rolled back, the newest last. */
  stack: { version: string | null; revision: number }[];
  moved: number | null;
  runs: string | null;
  activations: number[];
}

/** The expected result of a command. */
export type Expected =
  | { refused: ProblemCode }
  | { unchanged: number }
  | { type: string; version?: string | null; previous?: string | null; reverts?: number[] };

/** The rules of docs/http.md again, in the simplest possible form. */
export class NaiveModel {
  published: Record<string, Published> = {};
  places: Record<string, Place> = {};
  revision = 0;

  active(environment: string): string | null {
    return this.place(environment).stack.at(-1)?.version ?? null;
  }

  /** Returns the expected result. An accepted command also changes this model, at `revision`. */
  ask(asked: Asked, now: number, revision: number): Expected {
    const expected = this[asked.kind](asked, now, revision);
    if ('type' in expected) this.revision = revision;
    return expected;
  }

  private place(environment: string): Place {
    if (!Object.hasOwn(this.places, environment)) {
      this.places[environment] = { stack: [], moved: null, runs: null, activations: [] };
    }
    return this.places[environment]!;
  }

  private publish({ version, flavor, python, gone }: Asked, _: number, revision: number): Expected {
    const content = `${flavor} ${python}`;
    const before = this.published[version];
    if (before) return before.content === content ? { unchanged: before.revision } : { refused: 'version-exists' };
    if (gone.includes(version)) return { refused: 'artifact-missing' };
    this.published[version] = { content, python, notes: '', archived: false, revision };
    return { type: 'version.published', version };
  }

  private activate(asked: Asked, now: number, revision: number): Expected {
    const { version, environment, force } = asked;
    const refused = this.unknown(version) ?? this.unknownPlace(asked) ?? this.unexpected(asked);
    if (refused) return refused;
    const place = this.place(environment);
    const previous = this.active(environment);
    if (previous === version) return { refused: 'already-active' };
    const not = this.cannotLoad(asked, version, false);
    if (not) return not;
    if (!force && place.activations.filter((then) => now - then < 60).length >= 3) {
      return { refused: 'too-many-activations' };
    }
    place.activations.push(now);
    place.stack.push({ version, revision });
    place.moved = revision;
    return { type: 'version.activated', version, previous };
  }

  private rollback(asked: Asked, _: number, revision: number): Expected {
    const { environment, to_version, override } = asked;
    if (Object.keys(this.published).length === 0) return { refused: 'unknown-model' };
    const refused = this.unknownPlace(asked) ?? this.unexpected(asked);
    if (refused) return refused;
    const place = this.place(environment);
    const previous = this.active(environment);
    const below = place.stack.slice(0, -1);
    const target = to_version ? below.findLastIndex((entry) => entry.version === to_version) : below.length - 1;
    if (target < 0) return { refused: 'nothing-to-roll-back' };
    const { version } = below[target]!;
    const not = version && this.cannotLoad(asked, version, override.length > 0);
    if (not) return not;
    const reverts = place.stack.splice(target + 1).map((entry) => entry.revision);
    place.moved = revision;
    return { type: 'version.rolled_back', version, previous, reverts: reverts.reverse() };
  }

  private deactivate(asked: Asked, _: number, revision: number): Expected {
    if (Object.keys(this.published).length === 0) return { refused: 'unknown-model' };
    const refused = this.unknownPlace(asked);
    if (refused) return refused;
    const previous = this.active(asked.environment);
    if (previous === null) return { refused: 'no-active-version' };
    const place = this.place(asked.environment);
    place.stack.push({ version: null, revision });
    place.moved = revision;
    return { type: 'version.deactivated', version: null, previous };
  }

  private archive({ version }: Asked): Expected {
    const refused = this.unknown(version);
    if (refused) return refused;
    if (this.published[version]!.archived) return { unchanged: this.revision };
    if (Object.keys(this.places).some((name) => this.active(name) === version)) return { refused: 'version-active' };
    this.published[version]!.archived = true;
    return { type: 'version.archived', version };
  }

  private restore({ version }: Asked): Expected {
    const refused = this.unknown(version);
    if (refused) return refused;
    if (!this.published[version]!.archived) return { unchanged: this.revision };
    this.published[version]!.archived = false;
    return { type: 'version.restored', version };
  }

  private notes({ version, flavor }: Asked): Expected {
    const refused = this.unknown(version);
    if (refused) return refused;
    if (this.published[version]!.notes === flavor) return { unchanged: this.revision };
    this.published[version]!.notes = flavor;
    return { type: 'notes.changed', version };
  }

  private runtime(asked: Asked): Expected {
    if (Object.keys(this.published).length === 0) return { refused: 'unknown-model' };
    const refused = this.unknownPlace(asked);
    if (refused) return refused;
    const place = this.place(asked.environment);
    if (place.runs === asked.runs) return { unchanged: this.revision };
    place.runs = asked.runs;
    return { type: 'runtime.declared' };
  }

  private unknown(version: string): Expected | null {
    if (Object.keys(this.published).length === 0) return { refused: 'unknown-model' };
    return this.published[version] ? null : { refused: 'unknown-version' };
  }

  private unknownPlace({ environment, old }: Asked): Expected | null {
    return environment === 'old' && !old ? { refused: 'unknown-environment' } : null;
  }

  private unexpected({ environment, expected_active }: Asked): Expected | null {
    if (expected_active === undefined || expected_active === this.active(environment)) return null;
    return { refused: 'active-changed' };
  }

  private cannotLoad({ environment, gone }: Asked, version: string, override: boolean): Expected | null {
    const { archived, python } = this.published[version]!;
    if (archived) return { refused: 'version-archived' };
    if (gone.includes(version)) return { refused: 'artifact-missing' };
    const tooNew = python === '~=3.11.0' && this.place(environment).runs === '3.12.1';
    return tooNew && !override ? { refused: 'runtime-mismatch' } : null;
  }
}
