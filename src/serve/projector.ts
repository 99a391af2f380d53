import type { Logger } from 'pino';
import type { Nats } from '../log/connection.ts';
import { type Projector, startProjector } from '../projections/projector.ts';
import { checkPosition } from './log.ts';
import type { Opened } from './opened.ts';

interface OpenProjector {
  nats: Nats;
  volume: string;
  embedded: boolean;
  log: Logger;
}

/**
 * Reads the log to its end, and follows it from then on.
 *
 * @throws {Error} if the volume was built from another log
 */
export async function openProjector(
  { nats, volume, embedded, log }: OpenProjector,
  opened: Opened,
): Promise<Projector> {
  const generation = await checkPosition(nats, volume, embedded);
  const projector = startProjector(nats, generation, log);
  opened(() => projector.close());
  await projector.ready();
  return projector;
}
