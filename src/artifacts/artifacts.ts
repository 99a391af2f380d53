import type { Digest } from '../domain/digest.ts';
import type { Addressable, ArtifactStore, Unfinished } from './store.ts';
import type { VolumeStore } from './stores/volume.ts';

/** What reading artifacts needs of a store. */
export type Reads = Pick<ArtifactStore, 'stat' | 'get'>;

/** The artifacts of a server: the store, and the files on its volume. */
export interface Artifacts {
  /** What is in it can be published. */
  store: ArtifactStore & Partial<Addressable & Unfinished>;
  /** The files that version folders link to: the store itself, or copies of what is in it. */
  volume: VolumeStore;
  /** Says where a blob is besides copies, and reads it there: in the store, or where a version refers to it. */
  origin: Reads;
  /** Reads a copy if there is one, else the store. A blob that was deleted from the store may still be found. */
  reads: Reads;
  /**
   * Makes sure that a blob is on the volume.
   *
   * @throws {Problem} unknown-blob, store-unavailable, volume-full
   */
  bring(digest: Digest, signal?: AbortSignal): Promise<void>;
}

/** The artifacts of a server whose volume is the store. Of what is elsewhere, the volume has what its folders need. */
export function onVolume(volume: VolumeStore, origin: Reads = volume): Artifacts {
  return {
    store: volume,
    volume,
    origin,
    reads: origin,
    async bring(digest, signal) {
      if (origin === volume || (await volume.stat(digest))) return;
      await volume.put(digest, await origin.get(digest, undefined, signal), undefined, signal);
    },
  };
}
