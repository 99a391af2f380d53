import { ACTIVATION_WINDOW_MS, type EnvironmentState } from '../../domain/model.ts';
import type { Context } from '../command.ts';
import { type Check, failed, passed } from './check.ts';

/** Limits the accepted activations a minute of an environment, against flapping; `force` passes it. */
export function checkActivationLimit(
  { activations }: EnvironmentState,
  environment: string,
  force: boolean,
  { activationLimit, now }: Context,
): Check {
  const rule = 'activation-limit';
  if (activationLimit === 0) return passed(rule, 'No limit is set.');
  const recent = activations.map((at) => Date.parse(at)).filter((at) => at > Date.parse(now) - ACTIVATION_WINDOW_MS);
  const count = `${recent.length} of ${activationLimit} activations were made in the last minute`;
  if (recent.length < activationLimit) return passed(rule, `${count}.`);
  if (force) return passed(rule, `${count}; the limit is passed by force.`);
  const free = recent.at(-activationLimit)! + ACTIVATION_WINDOW_MS;
  const retry_after = Math.ceil((free - Date.parse(now)) / 1000);
  const detail =
    `${environment} takes ${activationLimit} activations of a model a minute; the next in ${retry_after} s. ` +
    'To pass the limit, use force (--force), which is recorded. To change it, set REGISTRY_ACTIVATION_LIMIT or limits in the policy.';
  return failed(rule, 'too-many-activations', detail, { retry_after });
}
