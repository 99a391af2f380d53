import type { KeyObject } from 'node:crypto';
import type { Logger } from 'pino';
import type { ServerConfig } from '../config.ts';
import type { Registry } from '../projections/registry.ts';
import { readPrivateKey } from '../proof/checkpoint-key.ts';
import type { LogState } from '../proof/heads.ts';
import { checkDestination, startPublisher } from '../proof/publisher.ts';
import type { Opened } from './opened.ts';

export interface CheckpointSettings {
  to: string;
  key: KeyObject;
}

/**
 * Where checkpoints go and what signs them; null where none are wanted.
 *
 * @throws {Error} where one of the two is not said, or is no good
 */
export async function readCheckpoints(config: ServerConfig): Promise<CheckpointSettings | null> {
  const { REGISTRY_CHECKPOINTS: to, REGISTRY_CHECKPOINT_KEY: key } = config;
  if (to === undefined && key === undefined) return null;
  if (to === undefined || key === undefined) {
    throw new Error('Set both REGISTRY_CHECKPOINTS and REGISTRY_CHECKPOINT_KEY, or none of them.');
  }
  checkDestination(to);
  return { to, key: await readPrivateKey(key) };
}

/** Publishes a checkpoint of the read model every hour, while it follows the log. */
export function startCheckpoints(
  settings: CheckpointSettings,
  { registry, live, log }: { registry(): Registry; live(): boolean; log: Logger },
  opened: Opened,
): void {
  const publisher = startPublisher({ ...settings, logState, now: () => new Date(), log });
  opened(() => publisher.close());

  function logState(): LogState | null {
    const { position, models, order } = registry();
    const heads = [...models].map(([name, { last }]) => [name, last] as const);
    return live() ? { ...position, heads: new Map(heads), order } : null;
  }
}
