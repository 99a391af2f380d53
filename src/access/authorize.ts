import { Problem } from '../domain/errors.ts';
import { type AccessRequest, allows, type Identity, type Policy } from './policy.ts';

/** @throws {Problem} forbidden, naming the missing permission and its scope */
export function authorize(policy: Policy, identity: Identity, wanted: AccessRequest): void {
  if (allows(policy, identity, wanted)) return;
  const { permission, model, environment } = wanted;
  const scope = `${model === undefined ? '' : ` for ${model}`}${environment === undefined ? '' : ` in ${environment}`}`;
  const detail = `You need the permission ${permission}${scope}. Ask an administrator of the registry for it.`;
  throw new Problem('forbidden', detail, { permission });
}
