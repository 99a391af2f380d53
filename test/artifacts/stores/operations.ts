import type { ArtifactStore } from '../../../src/artifacts/store.ts';
import type { ObjectStore } from '../../../src/artifacts/stores/object-store.ts';
import { digestOfBytes, inChunks, someBytes } from '../../support/bytes.ts';

const large = someBytes(9 * 1024 * 1024);
const small = large.subarray(0, 10);

/** What is done with a store of object storage, for tests of stores that cannot be used. */
export const operations: [name: string, operation: (store: ObjectStore) => Promise<unknown>][] = [
  ['put', (store) => store.put(digestOfBytes(small), inChunks(small), small.length)],
  ['put without a size', (store) => store.put(digestOfBytes(small), inChunks(small))],
  ['put of several parts', (store) => store.put(digestOfBytes(large), inChunks(large))],
  ['get', (store) => store.get(digestOfBytes(small))],
  ['stat', (store) => store.stat(digestOfBytes(small))],
  ['list', (store) => listed(store)],
  ['delete', (store) => store.delete(digestOfBytes(small))],
  ['owner', (store) => store.owner()],
  ['own', (store) => store.own('a log')],
];

export async function listed(store: ArtifactStore) {
  const blobs = [];
  for await (const blob of store.list()) blobs.push(blob);
  return blobs;
}
