import type { NatsConnection } from '@nats-io/transport-node';
import { nameOf, type StoreAddress } from './address.ts';
import type { Addressable, ArtifactStore, Owned, Unfinished } from './store.ts';
import { openFolderStore } from './stores/folder.ts';
import type { Writer } from './writer.ts';

/** A store that is not the volume. */
export type RemoteStore = ArtifactStore & Owned & Partial<Addressable & Unfinished> & { close(): Promise<void> };

interface Means {
  /** The log's connection, for `nats:`. */
  nats: NatsConnection;
  writer?: Writer;
}

/**
 * Opens a store. Nothing is sent to it yet.
 *
 * @throws {Error} with what to install, if the SDK of the store is missing
 */
export async function openStore(address: StoreAddress, { writer }: Means): Promise<RemoteStore> {
  if (address.kind !== 'file' || address.folder === null) throw new Error(`${nameOf(address)} is not a store yet`);
  return { ...(await openFolderStore(address.folder, writer)), close: async () => {} };
}
