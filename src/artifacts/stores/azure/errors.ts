import { isRestError, type RestError } from '@azure/storage-blob';
import { Problem } from '../../../domain/errors.ts';

const CREDENTIALS =
  'Check AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or the identity of this machine.';
const ROLES = 'An identity needs the role Storage Blob Data Contributor.';
const REFUSED = ['refuses the credentials', CREDENTIALS] as const;
const TOKENLESS = ['cannot be used, because Azure gives no token', CREDENTIALS] as const;
const FORBIDDEN = ['does not allow this with these credentials', ROLES] as const;

/** What errors mean, by Azure's code, or by the name of an error of @azure/identity. */
const MEANINGS: Readonly<Record<string, readonly [meaning: string, remedy: string]>> = {
  ContainerNotFound: ['does not exist', 'Create the container, or correct the address of the store.'],
  ContainerBeingDeleted: ['is being deleted', 'Create the container again when it is gone.'],
  AuthenticationFailed: REFUSED,
  InvalidAuthenticationInfo: REFUSED,
  NoAuthenticationInformation: REFUSED,
  CredentialUnavailableError: TOKENLESS,
  AggregateAuthenticationError: TOKENLESS,
  AuthenticationError: TOKENLESS,
  AuthorizationFailure: [
    'refuses the credentials, or requests from here',
    `${CREDENTIALS} Check the firewall of the storage account, too.`,
  ],
  AuthorizationPermissionMismatch: FORBIDDEN,
  InsufficientAccountPermissions: FORBIDDEN,
  AccountIsDisabled: ['is disabled', 'Enable the storage account.'],
  ServerBusy: ['asks for fewer requests', 'Try again later.'],
};
const STATUSES = new Set([408, 429, 500, 502, 503, 504]);

/** Explains what the SDK threw. Returns a missing blob's or block's error as it is. */
export function explained(store: string, error: unknown): unknown {
  if (!(error instanceof Error) || isMissing(error) || isInvalidList(error)) return error;
  const code = codeOf(error);
  const known = Object.hasOwn(MEANINGS, code) ? MEANINGS[code] : undefined;
  const status = isRestError(error) ? error.statusCode : undefined;
  if (!known && status === undefined) return error;
  const [meaning, remedy] = known ?? [`answered ${status} ${code}`, 'Check the log of the storage, and try again.'];
  return new Problem('store-unavailable', `The artifact store ${store} ${meaning}. ${remedy}`, {}, error);
}

/** Returns null if the blob does not exist. */
export async function unlessMissing<T>(answer: Promise<T>): Promise<T | null> {
  return answer.catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
}

function isMissing(error: unknown): boolean {
  return codeOf(error) === 'BlobNotFound';
}

/** Whether a block of a commit does not exist. */
export function isInvalidList(error: unknown): boolean {
  return codeOf(error) === 'InvalidBlockList';
}

/** Whether another attempt may have another outcome: the storage did not answer, or not yet. */
export function mayHelp(error: unknown): boolean {
  if (!isRestError(error)) return false;
  return error.statusCode === undefined ? isOfNetwork(error) : STATUSES.has(error.statusCode);
}

function isOfNetwork({ code }: RestError): boolean {
  return code !== undefined && code !== 'PARSE_ERROR' && code !== 'ENOTFOUND';
}

/** The header has the code also in answers to HEAD, which have no body. */
function codeOf(error: unknown): string {
  if (!isRestError(error)) return error instanceof Error ? error.name : '';
  return error.response?.headers.get('x-ms-error-code') ?? error.code ?? error.name;
}
