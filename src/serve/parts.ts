import type { Logger } from 'pino';
import type { Artifacts } from '../artifacts/artifacts.ts';
import type { Cache } from '../artifacts/cache.ts';
import type { ServerConfig } from '../config.ts';
import type { Nats } from '../log/connection.ts';
import type { Servers } from '../log/servers.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Fleet } from '../projections/fleet.ts';
import type { Projector } from '../projections/projector.ts';

/** Registers how to close an opened part; parts are closed in reverse order. */
export type Opened = (undo: () => unknown) => void;

/** The parts of a server that several others are built from. */
export interface Parts {
  config: ServerConfig;
  volume: string;
  nats: Nats;
  servers: Pick<Servers, 'unableToRead'>;
  projector: Projector;
  artifacts: Artifacts;
  /** The copies of a store on the volume; null if the volume is the store. */
  cache: Cache | null;
  fleet: Fleet;
  metrics: Metrics;
  log: Logger;
}
