import { activationLimitOf, type Policy, writeLimitOf } from '../access/policy.ts';
import { createWriteLimits, type WriteLimit, type WriteLimits } from '../commands/write-limits.ts';
import type { ServerConfig } from '../config.ts';

/** Only production is limited by default, against flapping; other environments are for experiments. */
const PRODUCTION = 'production';
const PRODUCTION_ACTIVATIONS = 3;
/** Enough for 64 of the largest manifests. */
const BYTES_A_MINUTE = 16 * 1024 * 1024;

type Variables = Pick<ServerConfig, 'REGISTRY_ACTIVATION_LIMIT' | 'REGISTRY_COMMAND_LIMIT'>;

/** Returns the limits of commands, from the policy or else from the variables (docs/security.md, "Limits"). */
export function commandLimits(
  { REGISTRY_ACTIVATION_LIMIT: activations, REGISTRY_COMMAND_LIMIT: commands }: Variables,
  policy: Policy,
  now: () => number,
): { activationLimit(model: string, environment: string): number; writeLimits: WriteLimits } {
  const ofCaller: WriteLimit = { commands, bytes: commands === 0 ? 0 : BYTES_A_MINUTE };
  const ofModel = (model: string) => {
    const stated = writeLimitOf(policy, model);
    return { commands: stated.commands ?? ofCaller.commands, bytes: stated.bytes ?? ofCaller.bytes };
  };
  return {
    activationLimit: (model, environment) =>
      activationLimitOf(policy, model, environment) ??
      activations ??
      (environment === PRODUCTION ? PRODUCTION_ACTIVATIONS : 0),
    writeLimits: createWriteLimits({ ofModel, ofCaller }, now),
  };
}
