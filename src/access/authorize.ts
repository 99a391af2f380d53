import { Problem } from '../domain/errors.ts';
import { allows, type Identity, type Policy, type Wish } from './policy.ts';

/** @throws {Problem} forbidden, naming the missing permission and its scope */
export function authorize(policy: Policy, identity: Identity, wish: Wish): void {
  if (allows(policy, identity, wish)) return;
  const { permission, model, environment } = wish;
  const scope = `${model === undefined ? '' : ` for ${model}`}${environment === undefined ? '' : ` in ${environment}`}`;
  const detail = `You need the permission ${permission}${scope}. Ask an administrator of the registry for it.`;
  throw new Problem('forbidden', detail, { permission });
}
