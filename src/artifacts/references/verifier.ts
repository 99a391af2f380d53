import type { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import type { Reference, Referred } from '../../domain/reference.ts';
import { inParallel } from '../../structures/in-parallel.ts';
import { openPlaces } from '../../structures/places.ts';
import { verified } from '../verify.ts';
import { checkObject, openObject } from './object.ts';
import { notAllowed, type Sources } from './sources.ts';

/** Sources that are read at once, for all commands. */
const AT_ONCE = 4;
/** Sources that are read or wait for it. */
const MAX_PENDING = 100;
const START_MS = 600_000;
/** A source that is slower over its whole length is given up. */
const BYTES_PER_SECOND = 1024 * 1024;

/** Reads objects outside of the store whole, to see whether they have the bytes that a manifest states. */
export interface Verifier {
  /**
   * @throws {Problem} reference-not-allowed before any request; artifact-missing, checksum-mismatch, store-unavailable,
   *   too-many-requests
   */
  verify(artifacts: readonly Referred[]): Promise<Reference[]>;
}

/** @param referencesTo what was verified before; it is not read again while its ETag is the same */
export function createVerifier(
  sources: Sources,
  referencesTo: (digest: Digest) => readonly Reference[],
  closing: AbortSignal,
): Verifier {
  const pending = new Map<string, Promise<Reference>>();
  const places = openPlaces(AT_ONCE);

  return {
    async verify(artifacts) {
      const refused = artifacts.find(({ source }) => !sources.allows(source));
      if (refused) throw notAllowed(refused.source);
      const found = await inParallel(artifacts, AT_ONCE, joined);
      return [...new Map(found.map((reference) => [`${reference.source} ${reference.digest}`, reference])).values()];
    },
  };

  /** Equal ones are read once, whoever asks for it. */
  function joined(artifact: Referred): Promise<Reference> {
    const key = JSON.stringify([artifact.source, artifact.digest, artifact.size]);
    const running = pending.get(key);
    if (running) return running;
    if (pending.size >= MAX_PENDING) {
      throw new Problem('too-many-requests', 'Too many sources are being verified. Try again later.');
    }
    const verifying = inPlace(artifact).finally(() => pending.delete(key));
    pending.set(key, verifying);
    return verifying;
  }

  async function inPlace(artifact: Referred): Promise<Reference> {
    await places.take();
    try {
      return (await unchanged(artifact)) ?? (await readWhole(artifact));
    } finally {
      places.release();
    }
  }

  /** Without an ETag, only the bytes show whether an object changed. */
  async function unchanged({ source, digest, size }: Referred): Promise<Reference | null> {
    const known = referencesTo(digest).find((reference) => reference.source === source && reference.size === size);
    if (!known?.etag) return null;
    try {
      await checkObject(sources, known, closing);
      return known;
    } catch (error) {
      if (isChanged(error)) return null;
      throw error;
    }
  }

  async function readWhole({ path, source, digest, size }: Referred): Promise<Reference> {
    const limit = AbortSignal.timeout(START_MS + Math.ceil((size / BYTES_PER_SECOND) * 1_000));
    try {
      const { etag, bytes } = await openObject(sources, { source, size }, null, AbortSignal.any([closing, limit]));
      for await (const _ of verified(bytes, digest, size));
      return { source, digest, size, etag };
    } catch (error) {
      // Without the actual digest: who knows it could publish a version of an object that nobody meant to publish.
      if (isChanged(error) || (error instanceof Problem && error.code === 'checksum-mismatch')) {
        const detail = `There is no object at ${source} with the digest and size that the manifest states for ${path}.`;
        throw new Problem('checksum-mismatch', detail, { path, source, expected: digest }, error);
      }
      if (!limit.aborted) throw error;
      throw new Problem('store-unavailable', `${source} takes too long to read.`, { source }, error);
    }
  }
}

function isChanged(error: unknown): boolean {
  return error instanceof Problem && error.code === 'reference-changed';
}
