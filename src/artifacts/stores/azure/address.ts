import {
  BlobSASPermissions,
  type BlockBlobClient,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
  type UserDelegationKey,
} from '@azure/storage-blob';
import type { Azure } from './client.ts';

/** Azure allows a week. A day is long for an address, and short for a key that nobody can revoke alone. */
const KEY_MS = 24 * 3600_000;
const SKEW_MS = 5 * 60_000;

/**
 * Returns a function that makes addresses with a shared access signature, by the key of the account or, with another
 * credential, by a key that Azure makes for it.
 */
export function createSigner({ service, ask }: Azure): (blob: BlockBlobClient, seconds: number) => Promise<string> {
  const { credential, accountName } = service;
  let key: UserDelegationKey | null = null;

  return async (blob, seconds) => {
    const { containerName, name: blobName } = blob;
    // Without a start, so that a clock that is behind does not matter.
    const expiresOn = new Date(Date.now() + seconds * 1000);
    const values = { containerName, blobName, expiresOn, permissions: BlobSASPermissions.parse('r') };
    const query =
      credential instanceof StorageSharedKeyCredential
        ? generateBlobSASQueryParameters(values, credential)
        : generateBlobSASQueryParameters(values, await keyFor(expiresOn), accountName);
    return `${blob.url}?${query}`;
  };

  async function keyFor(expiresOn: Date): Promise<UserDelegationKey> {
    if (key && key.signedExpiresOn >= expiresOn) return key;
    const from = new Date(Date.now() - SKEW_MS);
    const until = new Date(Math.max(Date.now() + KEY_MS, expiresOn.getTime()));
    key = await ask(new AbortController().signal, (abortSignal) =>
      service.getUserDelegationKey(from, until, { abortSignal }),
    );
    return key;
  }
}
