import type { NatsConnection } from '@nats-io/transport-node';
import { nameOf, type StoreAddress } from './address.ts';
import type { Addressable, ArtifactStore, Owned, Unfinished } from './store.ts';
import type { Bucket } from './stores/bucket.ts';
import { openFolderStore } from './stores/folder.ts';
import { createNatsBucket } from './stores/nats.ts';
import { createObjectStore } from './stores/object-store.ts';
import type { Writer } from './writer.ts';

/** A store that is not the volume. */
export type RemoteStore = ArtifactStore & Owned & Partial<Addressable & Unfinished> & { close(): Promise<void> };

export interface Means {
  /** The log's connection, for `nats:`; null if there is none. */
  nats: NatsConnection | null;
  /** Connects to another NATS, for `nats://…`. */
  connectTo(url: string): Promise<NatsConnection>;
  writer?: Writer;
}

/** The packages that a store needs are not installed. */
export class MissingSdk extends Error {
  /** The command that installs them. */
  readonly install: string;

  constructor(store: string, packages: string, cause: unknown) {
    const install = `npm install ${packages}`;
    super(`The store ${store} needs packages that are not installed: ${install}.`, { cause });
    this.install = install;
  }
}

/**
 * Opens a store.
 *
 * @throws {MissingSdk}
 */
export async function openStore(address: StoreAddress, means: Means): Promise<RemoteStore> {
  if (address.kind !== 'file') return createObjectStore(await openBucket(address, means));
  if (address.folder === null) throw new Error('file: without a folder is the volume');
  return { ...(await openFolderStore(address.folder, means.writer)), close: async () => {} };
}

/** The SDKs are optional dependencies, so each is imported only for a store that needs it. */
export async function openBucket(address: Exclude<StoreAddress, { kind: 'file' }>, means: Means): Promise<Bucket> {
  switch (address.kind) {
    case 's3': {
      const { createS3Bucket } = await installed(address, import('./stores/s3.ts'));
      return createS3Bucket(address);
    }
    case 'azure': {
      const { createAzureBucket } = await installed(address, import('./stores/azure.ts'));
      return createAzureBucket(address);
    }
    case 'gs': {
      const { createGcsBucket } = await installed(address, import('./stores/gcs.ts'));
      return createGcsBucket(address);
    }
    case 'nats': {
      const { url } = address;
      const connection = url === null ? means.nats : () => means.connectTo(url);
      if (!connection) throw new Error('nats: is the NATS of a log, and there is no log here');
      return createNatsBucket(connection, { name: nameOf(address) });
    }
  }
}

const PACKAGES = {
  s3: '@aws-sdk/client-s3 @aws-sdk/s3-request-presigner',
  azure: '@azure/storage-blob @azure/identity',
  gs: '@google-cloud/storage',
};

async function installed<T>(address: StoreAddress & { kind: keyof typeof PACKAGES }, imported: Promise<T>): Promise<T> {
  try {
    return await imported;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw new MissingSdk(nameOf(address), PACKAGES[address.kind], cause);
  }
}
