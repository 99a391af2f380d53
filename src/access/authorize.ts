import { Problem } from '../domain/errors.ts';
import { allows, type Identity, type Policy, type Wish } from './policy.ts';

/** Checks that the caller has a permission. @throws {Problem} forbidden */
export function authorize(policy: Policy, identity: Identity, wish: Wish): void {
  if (allows(policy, identity, wish)) return;
  const { permission, model, environment } = wish;
  const scope = `${model === undefined ? '' : ` for ${model}`}${environment === undefined ? '' : ` in ${environment}`}`;
  throw new Problem('forbidden', `${identity.actor} does not have the permission ${permission}${scope}.`, {
    permission,
  });
}
