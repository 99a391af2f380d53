import { Problem } from '../../domain/errors.ts';
import { createHttpsSource } from './https.ts';
import { type BucketAddress, prefixOf, type ReferencePrefix } from './prefix.ts';
import type { SourceReader } from './reader.ts';

/** Where the operator allows the registry to read objects that versions refer to. */
export interface Sources {
  /** Whether a source is allowed; asks nobody. */
  allows(source: string): boolean;
  /** Returns what reads a source, and its key there. @throws {Problem} reference-not-allowed, without any request */
  find(source: string): Promise<{ reader: SourceReader; key: string }>;
  close(): Promise<void>;
}

export function openSources(
  prefixes: readonly ReferencePrefix[],
  openBucket: (address: BucketAddress) => Promise<SourceReader>,
): Sources {
  const readers = new Map<ReferencePrefix, Promise<SourceReader>>();

  return {
    allows: (source) => prefixOf(prefixes, source) !== null,

    async find(source) {
      const prefix = prefixOf(prefixes, source);
      if (!prefix) throw notAllowed(source);
      return { reader: await readerOf(prefix), key: source.slice(prefix.text.length) };
    },

    async close() {
      for (const reader of await Promise.allSettled(readers.values())) {
        if (reader.status === 'fulfilled') await reader.value.close?.();
      }
    },
  };

  /** Opened when it is needed first: the SDK of a storage takes time and memory. One that failed is opened again. */
  function readerOf(prefix: ReferencePrefix): Promise<SourceReader> {
    const opened = readers.get(prefix) ?? open(prefix);
    readers.set(prefix, opened);
    return opened;
  }

  async function open(prefix: ReferencePrefix): Promise<SourceReader> {
    try {
      return prefix.bucket ? await openBucket(prefix.bucket) : createHttpsSource(prefix.text);
    } catch (error) {
      readers.delete(prefix);
      throw new Problem('store-unavailable', `${prefix.text} cannot be read: ${(error as Error).message}`, {}, error);
    }
  }
}

export function notAllowed(source: string): Problem {
  const detail = `This registry may not read ${source}: it is below no prefix of REGISTRY_REFERENCES.`;
  return new Problem('reference-not-allowed', detail, { source });
}
