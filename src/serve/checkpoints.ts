import type { ServerConfig } from '../config.ts';
import { headsOf } from '../projections/read-model/models.ts';
import { readPrivateKey } from '../proof/checkpoint-key.ts';
import type { LogState } from '../proof/heads.ts';
import { checkDestination, type PublisherOptions, startPublisher } from '../proof/publisher.ts';
import type { Opened, Parts } from './parts.ts';

type CheckpointSettings = Pick<PublisherOptions, 'to' | 'key'>;

/**
 * Returns the destination of checkpoints and the key that signs them; null if no checkpoints are configured.
 *
 * @throws {Error} if only one of the two is set, or one is invalid
 */
export async function readCheckpoints(config: ServerConfig): Promise<CheckpointSettings | null> {
  const { REGISTRY_CHECKPOINTS: to, REGISTRY_CHECKPOINT_KEY: key } = config;
  if (to === undefined && key === undefined) return null;
  if (to === undefined || key === undefined) {
    throw new Error('Set both REGISTRY_CHECKPOINTS and REGISTRY_CHECKPOINT_KEY, or neither.');
  }
  checkDestination(to);
  return { to, key: await readPrivateKey(key) };
}

/** Publishes a checkpoint of the read model every hour, while the log is live. */
export function startCheckpoints(settings: CheckpointSettings, { projector, log }: Parts, opened: Opened): void {
  const publisher = startPublisher({ ...settings, logState, now: () => new Date(), log });
  opened(() => publisher.close());

  function logState(): LogState | null {
    if (projector.state() !== 'live') return null;
    const { readModel } = projector;
    return { ...readModel.position, heads: headsOf(readModel.db), order: () => readModel.orderDigest() };
  }
}
