import { type LoaderErrorCode, PERMANENT_ERRORS } from '../domain/fleet.ts';

/** Why a version could not be loaded. */
export class LoadFailure extends Error {
  override readonly name = 'LoadFailure';
  readonly code: LoaderErrorCode;

  constructor(code: LoaderErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }

  /** Whether a retry would fail again until the environment is moved. */
  get permanent(): boolean {
    return PERMANENT_ERRORS.some((code) => code === this.code);
  }
}

/** Returns a `LoadFailure` as it is, and wraps any other error in one with the code `otherwise`. */
export function failureOf(error: unknown, otherwise: LoaderErrorCode): LoadFailure {
  if (error instanceof LoadFailure) return error;
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new LoadFailure(otherwise, message, error);
}

/**
 * No version serves. A service answers it with `503`.
 * @example
 * try {
 *   return await loader.use(({ model }) => model.predict(row));
 * } catch (error) {
 *   if (error instanceof NotReady) return new Response(error.message, { status: 503 });
 *   throw error;
 * }
 */
export class NotReady extends Error {
  override readonly name = 'NotReady';
}
