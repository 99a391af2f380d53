import type { Digest } from '../../domain/digest.ts';
import type { Reference } from '../../domain/reference.ts';
import type { Reads } from '../artifacts.ts';
import type { BucketAddress, ReferencePrefix } from './prefix.ts';
import type { SourceReader } from './reader.ts';
import { withReferences } from './referenced.ts';
import { openSources } from './sources.ts';
import { createVerifier, type Verifier } from './verifier.ts';

/** Artifacts whose bytes are not in the store, but where versions refer to them. */
export interface References extends Verifier {
  /** Adds to a store what versions refer to. */
  addTo(store: Reads): Reads;
  /** Adds to reads what was just verified, before a version refers to it. */
  withFound(reads: Reads, found: readonly Reference[]): Reads;
  /** Ends the verifications that are running. */
  close(): Promise<void>;
}

export interface ReferencesOptions {
  prefixes: readonly ReferencePrefix[];
  openBucket(address: BucketAddress): Promise<SourceReader>;
  /** Returns where versions say that these bytes are. */
  referencesTo(digest: Digest): readonly Reference[];
}

export function openReferences({ prefixes, openBucket, referencesTo }: ReferencesOptions): References {
  const sources = openSources(prefixes, openBucket);
  const closing = new AbortController();
  return {
    ...createVerifier(sources, referencesTo, closing.signal),
    addTo: (store) => withReferences(store, referencesTo, sources),
    withFound(reads, found) {
      return withReferences(reads, (digest) => found.filter((reference) => reference.digest === digest), sources);
    },
    async close() {
      closing.abort();
      await sources.close();
    },
  };
}
