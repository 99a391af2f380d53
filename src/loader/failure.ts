import type { LoaderErrorCode } from '../domain/fleet.ts';
import { PERMANENT_ERRORS } from '../domain/fleet.ts';

/** Why a version could not be put to use. */
export class LoadFailure extends Error {
  override readonly name = 'LoadFailure';
  readonly code: LoaderErrorCode;

  constructor(code: LoaderErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }

  /** Whether trying again would end the same, until the environment is moved. */
  get permanent(): boolean {
    return PERMANENT_ERRORS.some((code) => code === this.code);
  }
}

/** An error as the failure that it means at this step. */
export function failureOf(error: unknown, otherwise: LoaderErrorCode): LoadFailure {
  if (error instanceof LoadFailure) return error;
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new LoadFailure(otherwise, message, error);
}

/** Nothing serves: a service answers 503 to that. */
export class NotReady extends Error {
  override readonly name = 'NotReady';
}
