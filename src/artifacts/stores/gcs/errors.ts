import { Problem } from '../../../domain/errors.ts';
import { reasonOf } from '../../../files/system-error.ts';

const CREDENTIALS =
  'Check GOOGLE_APPLICATION_CREDENTIALS, or the service account of this machine. It needs the role Storage Object User on the bucket.';

/** What answers mean, by their status. */
const MEANINGS: Readonly<Record<number, readonly [meaning: string, remedy: string]>> = {
  401: ['refuses the credentials', CREDENTIALS],
  403: ['does not allow this with these credentials', CREDENTIALS],
  404: ['does not exist', 'Create the bucket, or correct the address of the store.'],
  429: ['asks for fewer requests', 'Try again later.'],
};
const STATUSES = new Set([408, 429, 500, 502, 503, 504]);

/** An answer that is not a success. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(`it answered ${status} ${text}`.trim());
    this.status = status;
  }
}

/** Explains an answer. Returns other errors as they are. */
export function explained(store: string, error: unknown): unknown {
  if (!(error instanceof Refused)) return error;
  const [meaning, remedy] = MEANINGS[error.status] ?? [
    `answered ${error.status}`,
    'Check the log of the storage, and try again.',
  ];
  return new Problem('store-unavailable', `The artifact store ${store} ${meaning}. ${remedy}`, {}, error);
}

export function withoutCredentials(store: string, cause: unknown): Problem {
  const detail = `The artifact store ${store} cannot be used without credentials: ${reasonOf(cause)}. ${CREDENTIALS}`;
  return new Problem('store-unavailable', detail, {}, cause);
}

export function isMissing(error: unknown): boolean {
  return error instanceof Refused && error.status === 404;
}

/** Whether another attempt may have another outcome. Of fetch, a failure of the network is a TypeError. */
export function mayHelp(error: unknown): boolean {
  return error instanceof Refused ? STATUSES.has(error.status) : error instanceof TypeError;
}
