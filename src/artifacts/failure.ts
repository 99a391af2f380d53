import { Problem } from '../domain/errors.ts';
import { reasonOf } from '../files/system-error.ts';

/** Converts what an SDK threw. @param store its name, such as `s3://models/fraud` */
export function unavailable(store: string, cause: unknown): Problem {
  if (cause instanceof Problem) return cause;
  return new Problem('store-unavailable', `The artifact store ${store} failed: ${reasonOf(cause)}.`, {}, cause);
}
