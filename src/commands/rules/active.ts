import { environmentOf, type Model } from '../../domain/model.ts';
import { type Check, failed, passed } from './check.ts';

/** Another operator may have moved the environment since the caller looked at it: `active-changed` names that event. */
export function checkExpectedActive(model: Model, environment: string, expected: string | null | undefined): Check {
  const rule = 'expected-active';
  if (expected === undefined) return passed(rule, 'No active version was expected.');
  const { top, moved } = environmentOf(model, environment);
  const active = top?.version ?? null;
  if (active === expected) return passed(rule, `${active ?? 'No version'} is active in ${environment}, as expected.`);
  const detail = `${active ?? 'No version'} is active in ${environment}, not ${expected ?? 'none'}.`;
  return failed(rule, 'active-changed', detail, { environment, active, expected, changed_by: moved });
}

export function checkNotActive(model: Model, environment: string, version: string): Check {
  const { top, moved } = environmentOf(model, environment);
  if (top?.version !== version) return passed('not-active', `${version} is not active in ${environment} yet.`);
  const fields = { active: version, revision: moved!.revision };
  return failed('not-active', 'already-active', `${version} is already active in ${environment}.`, fields);
}
