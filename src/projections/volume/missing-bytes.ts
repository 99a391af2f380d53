import { missingIn } from '../../artifacts/missing.ts';
import type { ArtifactStore } from '../../artifacts/store.ts';
import type { Digest } from '../../domain/digest.ts';
import { activeVersion, type Model, type VersionState } from '../../domain/model.ts';
import { entryOf, type Registry } from '../registry.ts';

/** A published version of which this registry cannot serve every file. */
export interface IncompleteVersion {
  model: string;
  version: string;
  /** Where it is active. */
  environments: string[];
  /** How many of its files have no bytes here. */
  missing: number;
}

/**
 * The versions whose bytes this volume lacks: another registry of the same log took them, or somebody deleted them here.
 * The log cannot tell, so it is looked at whenever a version is laid.
 */
export class MissingBytes {
  readonly #store: ArtifactStore;
  readonly #registry: () => Registry;
  readonly #found = new Map<string, { model: string; version: string; missing: number }>();

  constructor(store: ArtifactStore, registry: () => Registry) {
    this.#store = store;
    this.#registry = registry;
  }

  /** Looks for a version's bytes; returns what is missing. */
  async look(model: string, { version, manifest }: VersionState): Promise<Set<Digest>> {
    const missing = await missingIn(this.#store, manifest.artifacts);
    const key = `${model} ${version}`;
    if (missing.length > 0) this.#found.set(key, { model, version, missing: missing.length });
    else this.#found.delete(key);
    return new Set(missing.map(({ digest }) => digest));
  }

  /** All but archived ones, those that are active somewhere first. */
  versions(): IncompleteVersion[] {
    const all = [...this.#found.values()].flatMap(({ model: name, version, missing }) => {
      const { model } = entryOf(this.#registry(), name);
      if (model.versions.get(version)?.status !== 'ready') return [];
      return [{ model: name, version, environments: whereActive(model, version), missing }];
    });
    return all.sort((a, b) => b.environments.length - a.environments.length);
  }

  clear(): void {
    this.#found.clear();
  }
}

function whereActive(model: Model, version: string): string[] {
  return [...model.environments.keys()].filter((name) => activeVersion(model, name)?.version === version);
}
