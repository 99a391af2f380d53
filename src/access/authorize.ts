import { Problem } from '../domain/errors.ts';
import { allows, type Identity, type Policy, type Wish } from './policy.ts';

/** @throws {Problem} forbidden, naming the permission that is missing and where */
export function authorize(policy: Policy, identity: Identity, wish: Wish): void {
  if (allows(policy, identity, wish)) return;
  const { permission, model, environment } = wish;
  const scope = `${model === undefined ? '' : ` for ${model}`}${environment === undefined ? '' : ` in ${environment}`}`;
  throw new Problem('forbidden', `This takes the permission ${permission}${scope}, which you do not have.`, {
    permission,
  });
}
