import type { TokenCredential } from '@azure/identity';
import {
  BlobServiceClient,
  type ContainerClient,
  type StoragePipelineOptions,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { nameOf, type StoreAddress } from '../../address.ts';
import { ATTEMPT_MS, attempted } from '../attempts.ts';
import { explained, mayHelp } from './errors.ts';

export type AzureAddress = Extract<StoreAddress, { kind: 'azure' }>;

/** The SDK does not end an attempt that takes too long, so attempts are made here. */
const OPTIONS: StoragePipelineOptions = { retryOptions: { maxTries: 1 } };

/** Sends the requests of a container. */
export interface Azure {
  service: BlobServiceClient;
  container: ContainerClient;
  /**
   * Makes a short request.
   *
   * @throws {Problem} store-unavailable; the SDK's error if a blob or a block does not exist
   */
  ask<T>(signal: AbortSignal, request: (limited: AbortSignal) => Promise<T>): Promise<T>;
  /** Makes a request that sends the bytes of a part. */
  send<T>(signal: AbortSignal, request: (limited: AbortSignal) => Promise<T>): Promise<T>;
}

export function createAzure(address: AzureAddress): Azure {
  const service = serviceOf(address);
  const within = async <T>(ms: number, signal: AbortSignal, request: (limited: AbortSignal) => Promise<T>) => {
    try {
      return await attempted(ms, signal, mayHelp, request);
    } catch (error) {
      throw explained(nameOf(address), error);
    }
  };
  return {
    service,
    container: service.getContainerClient(address.bucket),
    ask: (signal, request) => within(ATTEMPT_MS.answer, signal, request),
    send: (signal, request) => within(ATTEMPT_MS.part, signal, request),
  };
}

/** Uses the variables of Azure's own tools. */
function serviceOf(address: AzureAddress): BlobServiceClient {
  const { endpoint } = address;
  const {
    AZURE_STORAGE_CONNECTION_STRING: connection,
    AZURE_STORAGE_ACCOUNT: account,
    AZURE_STORAGE_KEY: key,
  } = process.env;
  if (connection) {
    const service = BlobServiceClient.fromConnectionString(connection, OPTIONS);
    if (!endpoint) return service;
    // A connection string may have a shared access signature instead of a key. It is the query of the address then.
    return new BlobServiceClient(endpoint + new URL(service.url).search, service.credential, OPTIONS);
  }
  const url = endpoint ?? (account && `https://${account}.blob.core.windows.net`);
  if (!url) {
    const store = nameOf(address);
    throw new Error(`Set AZURE_STORAGE_ACCOUNT to the storage account of ${store}, or add ?endpoint=<its address>.`);
  }
  const credential = account && key ? new StorageSharedKeyCredential(account, key) : defaultCredential();
  return new BlobServiceClient(url, credential, OPTIONS);
}

/** Imports the package at the first request only, as it takes longer to start than the rest of the SDK. */
function defaultCredential(): TokenCredential {
  let credential: Promise<TokenCredential> | null = null;
  return {
    async getToken(scopes, options) {
      credential ??= import('@azure/identity').then(({ DefaultAzureCredential }) => new DefaultAzureCredential());
      return (await credential).getToken(scopes, options);
    },
  };
}
