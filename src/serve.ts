import { randomUUID } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import type { Logger } from 'pino';
import { createBlobAccess } from './access/blob-access.ts';
import { createCollector } from './artifacts/collector.ts';
import { openVolumeStore } from './artifacts/stores/volume.ts';
import { createExecute } from './commands/execute.ts';
import type { ServerConfig } from './config.ts';
import { type Discovery, startDiscovery } from './discovery/discovery.ts';
import { isMove } from './domain/events.ts';
import { lockVolume } from './files/lock.ts';
import { createEventStream } from './http/api/snapshot-stream.ts';
import { createApp } from './http/app.ts';
import { listen } from './http/server/listen.ts';
import { probe } from './http/server/probe.ts';
import { revisionToken } from './log/identity.ts';
import { readAt } from './log/read.ts';
import { openReports } from './log/reports.ts';
import { readHead } from './log/stream.ts';
import { watchConvergence } from './metrics/convergence.ts';
import { addGauges } from './metrics/gauges.ts';
import { createMetrics } from './metrics/metrics.ts';
import { startActivationHistory } from './projections/activation-history.ts';
import { startFleet } from './projections/fleet.ts';
import { startProjector } from './projections/projector.ts';
import { entryOf, frozenCount, referencedDigests } from './projections/registry.ts';
import { startVolume } from './projections/volume/volume.ts';
import { openAccess, readAccess } from './serve/access.ts';
import { readCheckpoints, startCheckpoints } from './serve/checkpoints.ts';
import { startCollecting } from './serve/collecting.ts';
import { commandLimits } from './serve/limits.ts';
import { checkPosition, openLog } from './serve/log.ts';
import type { Opened } from './serve/opened.ts';
import { startServers } from './serve/servers.ts';
import { version } from './version.ts';

export interface Server {
  url: string;
  close(): Promise<void>;
}

export interface ServeOptions {
  config: ServerConfig;
  log: Logger;
  /** Tells a person what a long start is doing. */
  progress(line: string): void;
}

/**
 * Starts the registry: the only place where its parts are wired together. Whatever was opened is closed again, in reverse,
 * by `close` or by a start that fails.
 */
export async function serve(options: ServeOptions): Promise<Server> {
  const { log } = options;
  const opened: (() => unknown)[] = [];
  const close = async () => {
    for (const undo of opened.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        log.error({ err: error }, 'something did not close');
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
  const lock = lockVolume(volume);
  opened(() => lock.release());
  const accessSettings = await readAccess(config, volume);
  const checkpoints = await readCheckpoints(config);
  // Before NATS, which may take minutes to fetch or to wait for.
  await probe(config.HOST, config.PORT);

  const nats = await openLog({ config, volume, log, progress }, opened);
  const generation = await checkPosition(nats, volume, config.NATS_URL === undefined);
  const servers = startServers({ nats, log, version }, opened);
  const projector = startProjector(nats, generation, log);
  opened(() => projector.close());
  await projector.ready();

  const { REGISTRY_ENVIRONMENTS: environments } = config;
  const { registry } = projector;
  const store = await openVolumeStore(volume);
  const folded = {
    live: () => projector.state() === 'live',
    model: (name: string) => entryOf(registry(), name).model,
    frozen: (name: string) => entryOf(registry(), name).frozen,
    reached: projector.reached,
    appended: projector.appended,
  };
  const collector = createCollector(store, {
    referenced: () => referencedDigests(registry()),
    complete: () => folded.live() && frozenCount(registry()) === 0,
  });
  const fleet = startFleet({ reports: openReports(nats), log });
  opened(() => fleet.close());
  const access = await openAccess(accessSettings, { config, nats, log }, opened);
  const clock = { now: () => new Date(), newId: randomUUID };
  const metrics = createMetrics(environments);
  const stopwatch = () => performance.now();
  const convergence = watchConvergence({ fleet, converged: metrics.converged, now: stopwatch });
  const blobAccess = createBlobAccess(access.policy, function* () {
    for (const { model } of registry().models.values()) yield model;
  });
  const executing = createExecute({
    nats,
    folded,
    artifacts: store,
    collector,
    policy: access.policy,
    blobAccess,
    environments,
    unableToRead: servers.unableToRead,
    ...commandLimits(config, access.policy, Date.now),
    loaders: fleet.of,
    appendTook: metrics.appended,
    ...clock,
  });
  const execute = metrics.counting(executing, convergence.moved);

  const files = await startVolume({ volume, store, projector, log });
  opened(() => files.close());
  const history =
    config.REGISTRY_HISTORY_FILE === 'off'
      ? null
      : startActivationHistory({
          path: resolve(config.REGISTRY_HISTORY_FILE),
          volume,
          projector,
          readAt: (revision) => readAt(nats, revision),
          log,
        });
  opened(() => history?.close());
  const finding = { volume, artifacts: store, execute, registry, check: files.check, log };
  const discovery: Discovery | null = config.REGISTRY_DISCOVERY === 'on' ? await startDiscovery(finding) : null;
  opened(() => discovery?.close());
  startCollecting(collector, log, opened);
  if (checkpoints) startCheckpoints(checkpoints, { registry, live: folded.live, log }, opened);

  const onVolume = (problems: string[]) => problems.map((problem) => problem.replaceAll(`${volume}${sep}`, ''));
  const health = () => ({
    log: projector.state(),
    gaps: projector.gaps(),
    volume: onVolume(files.problems()),
    artifacts: files.incomplete(),
    discovery: onVolume(discovery?.problems() ?? []),
    history: history?.problems() ?? [],
  });
  const stale = () => projector.state() !== 'live';
  const events = createEventStream({ registry, environments, stale });
  projector.onEvent((applied) => {
    if (applied === null) events.endAll();
    else if (isMove(applied.event)) events.tell(applied.event.model);
  });
  addGauges(metrics.register, {
    version,
    environments,
    state: projector.state,
    onState: projector.onState,
    revision: () => registry().position.revision,
    head: async () => (await readHead(nats)).revision,
    gaps: () => projector.gaps().length,
    models: () => ({ known: registry().models.size, frozen: frozenCount(registry()) }),
    loaders: fleet.all,
    followers: events.followers,
    problems: () => {
      const { volume, artifacts, discovery, history } = health();
      return {
        volume: volume.length,
        artifacts: artifacts.length,
        discovery: discovery.length,
        history: history.length,
      };
    },
    freeBytes: async () => {
      const { bavail, bsize } = await statfs(volume);
      return bavail * bsize;
    },
    now: stopwatch,
  });
  const app = createApp(
    {
      log,
      environments,
      ...access,
      now: clock.now,
      blobAccess,
      registry,
      artifacts: store,
      execute,
      events,
      fleet,
      readAt: (revision) => readAt(nats, revision),
      settled: files.settled,
      revision: () => revisionToken(registry().position),
      stale,
      health,
      metrics,
    },
    version,
  );
  const server = await listen(app, { hostname: config.HOST, port: config.PORT });
  opened(() => {
    const served = server.close();
    events.close();
    return served;
  });
  servers.announce(server.url);
  return server.url;
}
