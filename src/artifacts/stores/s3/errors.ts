import { S3ServiceException } from '@aws-sdk/client-s3';
import { Problem } from '../../../domain/errors.ts';

const CREDENTIALS =
  'Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, the profile, or the role of this machine.';
const RIGHTS =
  'Signalbox needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the objects, and ' +
  's3:ListBucket and s3:ListBucketMultipartUploads on the bucket.';
const REFUSED = ['refuses the credentials', CREDENTIALS] as const;
const FORBIDDEN = ['does not allow this with these credentials', RIGHTS] as const;
const REGION = ['is in another region', 'Add ?region=<its region> to the address of the store.'] as const;

/** What errors mean, by their name. HEAD has no body, so there the status is all that is known. */
const MEANINGS: Readonly<Record<string, readonly [meaning: string, remedy: string]>> = {
  NoSuchBucket: ['does not exist', 'Create the bucket, or correct the address of the store.'],
  CredentialsProviderError: ['cannot be used without credentials', CREDENTIALS],
  InvalidAccessKeyId: REFUSED,
  SignatureDoesNotMatch: REFUSED,
  InvalidToken: REFUSED,
  ExpiredToken: ['refuses the credentials because they have expired', CREDENTIALS],
  AccessDenied: FORBIDDEN,
  AllAccessDisabled: FORBIDDEN,
  RequestTimeTooSkewed: ['refuses the time of this machine', 'Set its clock.'],
  PermanentRedirect: REGION,
  AuthorizationHeaderMalformed: REGION,
  SlowDown: ['asks for fewer requests', 'Try again later.'],
  TimeoutError: ['did not answer in time', 'Check the network, and try again.'],
};
const OF_STATUS: Readonly<Record<number, readonly [meaning: string, remedy: string]>> = {
  301: REGION,
  403: ['refuses the credentials, or does not allow this with them', `${CREDENTIALS} ${RIGHTS}`],
};

/** Explains what the SDK threw. Returns a missing object's or upload's error as it is. */
export function explained(store: string, error: unknown): unknown {
  if (!(error instanceof Error) || isMissing(error)) return error;
  const status = statusOf(error);
  const known = Object.hasOwn(MEANINGS, error.name) ? MEANINGS[error.name] : status && OF_STATUS[status];
  if (!known && status === undefined) return error;
  const [meaning, remedy] = known || [
    `answered ${status} ${error.name}`,
    'Check the log of the storage, and try again.',
  ];
  return new Problem('store-unavailable', `The artifact store ${store} ${meaning}. ${remedy}`, {}, error);
}

export function noSuchBucket(store: string): Problem {
  return new Problem('store-unavailable', `The artifact store ${store} ${MEANINGS.NoSuchBucket!.join('. ')}`);
}

export function noRegion(store: string, cause: unknown): Problem {
  const detail = `The artifact store ${store} has no region. Add ?region= to its address, or set AWS_REGION.`;
  return new Problem('store-unavailable', detail, {}, cause);
}

/** Returns null if the object or the upload does not exist. */
export async function unlessMissing<T>(answer: Promise<T>): Promise<T | null> {
  return answer.catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
}

/** Status 404 alone is not enough: a missing bucket has it too, and on some storages an unknown access key. */
function isMissing(error: unknown): boolean {
  return error instanceof S3ServiceException && ['NoSuchKey', 'NotFound', 'NoSuchUpload'].includes(error.name);
}

/** Whether new credentials may help. To HEAD, S3 says so with status 400 alone, which the SDK names `Unknown`. */
export function isExpired(error: unknown): boolean {
  if (statusOf(error) !== 400) return false;
  const { name } = error as Error;
  return name === 'ExpiredToken' || name === 'Unknown';
}

function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}
