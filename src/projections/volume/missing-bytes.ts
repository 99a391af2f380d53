import type { Logger } from 'pino';
import { missingIn } from '../../artifacts/missing.ts';
import type { ArtifactStore } from '../../artifacts/store.ts';
import type { Digest } from '../../domain/digest.ts';
import { activeIn, type VersionState } from '../../domain/model.ts';
import type { ReadModel } from '../read-model/read-model.ts';

/** A published version with files that this server cannot serve. */
export interface IncompleteVersion {
  model: string;
  version: string;
  /** The environments in which it is active. */
  environments: string[];
  /** The number of its files whose bytes are not on this volume. */
  missing: number;
}

/**
 * The versions whose bytes this volume lacks: they were published through a server with another volume, or deleted here.
 * The log does not show it, so the store is asked whenever a version's folder is brought up to date.
 */
export class MissingBytes {
  readonly #store: ArtifactStore;
  readonly #readModel: Pick<ReadModel, 'model'>;
  readonly #log: Logger;
  readonly #found = new Map<string, { model: string; version: string; missing: number }>();
  #reported = 0;

  constructor(store: ArtifactStore, readModel: Pick<ReadModel, 'model'>, log: Logger) {
    this.#store = store;
    this.#readModel = readModel;
    this.#log = log;
  }

  /** Returns the digests of a version that the store lacks. */
  async look(model: string, { version, manifest }: VersionState): Promise<Set<Digest>> {
    const missing = await missingIn(this.#store, manifest.artifacts);
    const key = `${model} ${version}`;
    if (missing.length > 0) this.#found.set(key, { model, version, missing: missing.length });
    else this.#found.delete(key);
    return new Set(missing.map(({ digest }) => digest));
  }

  /** Returns all except archived ones; active versions come first. */
  versions(): IncompleteVersion[] {
    const all = [...this.#found.values()].flatMap(({ model: name, version, missing }) => {
      const model = this.#readModel.model(name);
      if (model.record(version)?.status !== 'ready') return [];
      return [{ model: name, version, environments: activeIn(model, version), missing }];
    });
    return all.sort((a, b) => b.environments.length - a.environments.length);
  }

  /** Logs the versions if there are more than at the last call. */
  readonly report = (): void => {
    const versions = this.versions();
    if (versions.length > this.#reported) {
      const first = versions.slice(0, 5).map(({ model, version }) => `${model} ${version}`);
      this.#log.error({ versions: versions.length, first }, 'the volume lacks the bytes of published versions');
    }
    this.#reported = versions.length;
  };

  clear(): void {
    this.#found.clear();
  }
}
