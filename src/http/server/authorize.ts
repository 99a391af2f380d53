import { authorize } from '../../access/authorize.ts';
import type { Identity } from '../../access/policy.ts';
import type { Services } from '../services.ts';
import type { Route } from './route.ts';

/**
 * Returns the stage that checks a caller's permission for the model and the environment in `named`: the parsed path,
 * query or body. It throws `forbidden`.
 */
export function authorizer({ permission }: Route, { policy }: Services) {
  return (caller: Identity, ...named: unknown[]): void => {
    if (permission === null || permission === 'identified') return;
    const { model, environment } = Object.assign({}, ...named) as { model?: string; environment?: string };
    authorize(policy, caller, { permission, model, environment });
  };
}
