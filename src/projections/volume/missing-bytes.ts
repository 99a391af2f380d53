import type { Logger } from 'pino';
import { missingIn } from '../../artifacts/missing.ts';
import type { ArtifactStore } from '../../artifacts/store.ts';
import type { Digest } from '../../domain/digest.ts';
import { activeIn, type VersionState } from '../../domain/model.ts';
import type { ReadModel } from '../read-model/read-model.ts';
import { activeVersions } from './versions.ts';

/** A published version with files that this server cannot serve. */
export interface IncompleteVersion {
  model: string;
  version: string;
  /** The environments in which it is active. */
  environments: string[];
  /** The number of its files whose bytes are not on this volume. */
  missing: number;
}

/** The versions with missing bytes: there may be as many as versions, so they are listed only as far as it is asked for. */
export interface IncompleteVersions {
  count: number;
  /** Returns some of them; active ones come first. */
  first(limit: number): IncompleteVersion[];
}

/**
 * The versions whose bytes this volume lacks, except archived ones: they were published through a server with another
 * volume, or deleted here. The log does not show it, so the store is asked whenever a version's folder is brought up to date.
 */
export class MissingBytes implements IncompleteVersions {
  readonly #store: Pick<ArtifactStore, 'stat'>;
  readonly #readModel: Pick<ReadModel, 'model' | 'db'>;
  readonly #log: Logger;
  readonly #found = new Map<string, { model: string; version: string; missing: number }>();
  #reported = 0;

  constructor(store: Pick<ArtifactStore, 'stat'>, readModel: Pick<ReadModel, 'model' | 'db'>, log: Logger) {
    this.#store = store;
    this.#readModel = readModel;
    this.#log = log;
  }

  /** Returns the digests of a version that the store lacks. */
  async look(model: string, { version, status, manifest }: VersionState): Promise<Set<Digest>> {
    const missing = await missingIn(this.#store, manifest.artifacts);
    if (missing.length > 0 && status === 'ready') {
      this.#found.set(keyOf(model, version), { model, version, missing: missing.length });
    } else this.forget(model, version);
    return new Set(missing.map(({ digest }) => digest));
  }

  /** Drops a version that was archived. */
  forget(model: string, version: string): void {
    this.#found.delete(keyOf(model, version));
  }

  get count(): number {
    return this.#found.size;
  }

  first(limit: number): IncompleteVersion[] {
    const listed = new Map<string, IncompleteVersion>();
    if (this.count === 0) return [];
    for (const { model, version } of activeVersions(this.#readModel.db)) {
      if (listed.size >= Math.min(limit, this.#found.size)) break;
      this.#list(listed, model, version);
    }
    for (const { model, version } of this.#found.values()) {
      if (listed.size >= limit) break;
      this.#list(listed, model, version);
    }
    return [...listed.values()];
  }

  /** Logs the versions if there are more than at the last call. */
  readonly report = (): void => {
    const { count } = this;
    if (count > this.#reported) this.#log.error({ versions: count, first: this.#named() }, LACKS);
    this.#reported = count;
  };

  #named(): string[] {
    try {
      return this.first(5).map(({ model, version }) => `${model} ${version}`);
    } catch {
      return []; // the read model is damaged, and is being made anew
    }
  }

  clear(): void {
    this.#found.clear();
  }

  #list(listed: Map<string, IncompleteVersion>, model: string, version: string): void {
    const key = keyOf(model, version);
    const found = this.#found.get(key);
    if (!found || listed.has(key)) return;
    const environments = activeIn(this.#readModel.model(model), version);
    listed.set(key, { model, version, environments, missing: found.missing });
  }
}

const LACKS = 'the volume lacks the bytes of published versions';

function keyOf(model: string, version: string): string {
  return `${model} ${version}`;
}
