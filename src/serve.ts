import { resolve } from 'node:path';
import type { Logger } from 'pino';
import { openUnfinishedUploads } from './artifacts/unfinished-uploads.ts';
import type { ServerConfig } from './config.ts';
import { lockVolume } from './files/lock.ts';
import { probe } from './http/server/probe.ts';
import { openReports } from './log/reports.ts';
import { createMetrics } from './metrics/metrics.ts';
import { startFleet } from './projections/fleet.ts';
import { startListReader } from './projections/lists/reader.ts';
import { startProjector } from './projections/projector.ts';
import { readModelFile } from './projections/read-model/file.ts';
import { openAccess, readAccess } from './serve/access.ts';
import { openArtifacts } from './serve/artifacts.ts';
import { readCheckpoints, startCheckpoints } from './serve/checkpoints.ts';
import { startCollecting } from './serve/collecting.ts';
import { openCommands } from './serve/commands.ts';
import { startEvicting } from './serve/evicting.ts';
import { measure } from './serve/gauges.ts';
import { openSnapshots, startHttp } from './serve/http.ts';
import { checkPosition, openLog } from './serve/log.ts';
import type { Opened, Parts } from './serve/parts.ts';
import { startProjections } from './serve/projections.ts';
import { startScrubbing } from './serve/scrubbing.ts';
import { startServers } from './serve/servers.ts';
import { version } from './version.ts';

export interface Server {
  url: string;
  close(): Promise<void>;
}

export interface ServeOptions {
  config: ServerConfig;
  log: Logger;
  /** Called with a line for the operator about what a long start is doing. */
  progress(line: string): void;
}

/** Starts a server. What was opened is closed in reverse order, by `close` or after a failed start. */
export async function serve(options: ServeOptions): Promise<Server> {
  const { log } = options;
  const opened: (() => unknown)[] = [];
  const close = async () => {
    for (const undo of opened.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        log.error({ err: error }, 'a part of the server did not close');
      }
    }
  };
  try {
    return { url: await start(options, (undo) => opened.push(undo)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start({ config, log, progress }: ServeOptions, opened: Opened): Promise<string> {
  const volume = resolve(config.REGISTRY_VOLUME);
  const environments = config.REGISTRY_ENVIRONMENTS;
  const lock = lockVolume(volume);
  opened(() => lock.release());
  const accessSettings = await readAccess(config, volume);
  const checkpoints = await readCheckpoints(config);
  // Before NATS, which may take minutes to download or to wait for.
  await probe(config.HOST, config.PORT);

  const nats = await openLog({ config, volume, log, progress }, opened);
  await checkPosition(nats, volume, config.NATS_URL === undefined);
  const servers = startServers({ nats, log, version }, opened);
  const projector = await startProjector({ nats, path: readModelFile(volume), log, progress });
  opened(() => projector.close());
  await projector.ready();
  const fleet = startFleet({ reports: openReports(nats), log });
  opened(() => fleet.close());
  const { readModel } = projector;
  const access = await openAccess(accessSettings, { config, nats, readModel, log }, opened);
  const metrics = createMetrics(environments);
  const stores = await openArtifacts({ config, volume, nats, readModel, metrics, log }, opened);
  const { artifacts, cache } = stores;
  const uploads = await openUnfinishedUploads(volume, artifacts);

  const parts: Parts = { config, volume, nats, servers, projector, artifacts, cache, fleet, metrics, log };
  const { execute, collector } = openCommands(parts, access, stores.references);
  const { files, health } = startProjections(parts, execute, stores.storeProblems, opened);
  if (cache) startEvicting(cache, parts, files, opened);
  startCollecting(collector, uploads, log, opened);
  startScrubbing(parts, files, opened);
  if (checkpoints) startCheckpoints(checkpoints, parts, opened);
  const snapshots = openSnapshots(projector, environments);
  const lists = startListReader(readModel, { policy: access.policy, environments }, projector.rebuild);
  opened(() => lists.close());
  measure(parts, files, snapshots, health);
  const services = { log, environments, ...access, artifacts, uploads, execute, snapshots, fleet, health, metrics };
  const url = await startHttp(parts, services, files, lists, opened);
  servers.announce(url);
  return url;
}
