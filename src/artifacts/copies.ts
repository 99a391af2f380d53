import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import type { ArtifactStore } from './store.ts';
import type { VolumeStore } from './stores/volume.ts';

/** What a repair needs of the blobs on a volume. */
export type Copies = ArtifactStore & Pick<VolumeStore, 'touch' | 'setAside' | 'asideOf' | 'pathOf'>;

/** The copies of a machine without a volume. */
export const noCopies: Copies = {
  put: (digest) => Promise.reject(none(digest)),
  get: (digest) => Promise.reject(none(digest)),
  stat: async () => null,
  async *list() {},
  delete: async () => {},
  touch: async () => false,
  setAside: async () => {},
  asideOf: async () => null,
  pathOf: (digest) => {
    throw none(digest);
  },
};

function none(digest: Digest): Problem {
  return new Problem('unknown-blob', `There is no copy of ${digest}, because there is no volume.`, { digest });
}
