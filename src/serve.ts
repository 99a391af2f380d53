import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Logger } from 'pino';
import { openKeyStore } from './access/key-store.ts';
import { isKey } from './access/keys.ts';
import { isLoopback } from './access/loopback.ts';
import { activationLimitOf, DEFAULT_POLICY, readPolicy } from './access/policy.ts';
import { ensureSecret } from './access/secret.ts';
import { MIN_SECRET_BYTES, type Provider, tokenVerifier } from './access/tokens.ts';
import { createCollector } from './artifacts/collector.ts';
import { lockVolume } from './artifacts/lock.ts';
import { openVolumeStore } from './artifacts/volume-store.ts';
import { createDispatch } from './commands/dispatch.ts';
import type { ServerConfig } from './config.ts';
import { type Discovery, startDiscovery } from './discovery/discovery.ts';
import { createApp } from './http/app.ts';
import { createBlobAccess } from './http/blob-access.ts';
import { createEventStream } from './http/event-stream.ts';
import { listen } from './http/listen.ts';
import { connectNats, type Nats, parseNatsUrl } from './log/connection.ts';
import { findNatsServer } from './log/embedded/binary.ts';
import { startNatsServer } from './log/embedded/server.ts';
import { compareLog, revisionToken } from './log/identity.ts';
import { readAt } from './log/read.ts';
import { openReports } from './log/reports.ts';
import { ensureStream, readHead } from './log/stream.ts';
import { startFleet } from './projections/fleet.ts';
import { startProjector } from './projections/projector.ts';
import { anyFrozen, entryOf, referencedDigests } from './projections/registry.ts';
import { positionFile, readPosition, startVolume } from './projections/volume.ts';
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

const COLLECT_EVERY_MS = 3600_000;

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

async function start({ config, log, progress }: ServeOptions, opened: (undo: () => unknown) => void): Promise<string> {
  const volume = resolve(config.REGISTRY_VOLUME);
  await mkdir(volume, { recursive: true });
  const lock = lockVolume(volume);
  opened(() => lock.release());
  const verifyToken = tokenVerifier({
    secret: await secretOf(config, volume),
    provider: providerOf(config),
    roleClaim: config.REGISTRY_ROLE_CLAIM,
    groupsClaim: config.REGISTRY_GROUPS_CLAIM,
  });
  const policy = config.REGISTRY_POLICY === undefined ? DEFAULT_POLICY : await readPolicy(config.REGISTRY_POLICY);

  const nats = await openLog({ config, volume, log, progress }, opened);
  const generation = await checkPosition(nats, volume);
  const projector = startProjector(nats, generation, log);
  opened(() => projector.close());
  await projector.ready();

  const { REGISTRY_ENVIRONMENTS: environments, REGISTRY_ACTIVATION_LIMIT } = config;
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
    complete: () => folded.live() && !anyFrozen(registry()),
  });
  const fleet = startFleet({ reports: openReports(nats), log });
  opened(() => fleet.close());
  const keys = openKeyStore(nats, log);
  opened(() => keys.close());
  await keys.ready();
  const clock = { now: () => new Date(), newId: randomUUID };
  const dispatch = createDispatch({
    nats,
    folded,
    artifacts: store,
    collector,
    environments,
    activationLimit: (model, environment) => activationLimitOf(policy, model, environment) ?? REGISTRY_ACTIVATION_LIMIT,
    loaders: fleet.of,
    ...clock,
  });

  const files = await startVolume({ volume, store, projector, log });
  opened(() => files.close());
  const finding = { volume, artifacts: store, dispatch, registry, check: files.check, log };
  const discovery: Discovery | null = config.REGISTRY_DISCOVERY === 'on' ? await startDiscovery(finding) : null;
  opened(() => discovery?.close());
  let collecting = collect();
  const everyHour = setInterval(() => {
    collecting = collect();
  }, COLLECT_EVERY_MS);
  opened(() => {
    clearInterval(everyHour);
    return collecting;
  });

  const health = () => ({
    log: projector.state(),
    gaps: projector.gaps(),
    volume: files.problems(),
    discovery: discovery?.problems() ?? [],
  });
  const stale = () => projector.state() !== 'live';
  const events = createEventStream({ registry, environments, stale });
  projector.onEvent((applied) => {
    if (applied === null) events.endAll();
    else if ('previous' in applied.event.data) events.tell(applied.event.model);
  });
  const app = createApp(
    {
      log,
      environments,
      verify: (credential) => (isKey(credential) ? keys.verify(credential) : verifyToken(credential)),
      keys,
      now: clock.now,
      policy,
      blobAccess: createBlobAccess(registry),
      registry,
      artifacts: store,
      collector,
      dispatch,
      events,
      fleet,
      readAt: (revision) => readAt(nats, revision),
      settled: files.settled,
      revision: () => revisionToken(registry().checkpoint),
      stale,
      health,
    },
    version,
  );
  const server = await listen(app, { hostname: config.HOST, port: config.PORT });
  opened(() => {
    const served = server.close();
    events.close();
    return served;
  });
  return server.url;

  async function collect(): Promise<void> {
    try {
      const deleted = await collector.collect(Date.now());
      if (deleted > 0) log.info({ deleted }, 'deleted blobs that nothing referred to');
    } catch (err) {
      log.error({ err }, 'blobs were not collected');
    }
  }
}

/**
 * What tokens are signed with here; null where only the provider's are taken.
 *
 * @throws {Error} beyond loopback without a secret or a provider, or with a secret too short to sign with
 */
async function secretOf(config: ServerConfig, volume: string): Promise<Uint8Array | null> {
  const { REGISTRY_JWT_SECRET: secret, REGISTRY_JWKS_URL: jwks, HOST } = config;
  if (secret !== undefined) {
    if (Buffer.byteLength(secret) >= MIN_SECRET_BYTES) return Buffer.from(secret);
    throw new Error(`REGISTRY_JWT_SECRET must have at least ${MIN_SECRET_BYTES} bytes.`);
  }
  if (isLoopback(HOST)) return ensureSecret(volume);
  if (jwks !== undefined) return null;
  throw new Error(`To listen on ${HOST}, beyond this machine, set REGISTRY_JWT_SECRET or REGISTRY_JWKS_URL.`);
}

/** @throws {Error} for a provider without issuer and audience: any of its tokens, meant for anybody, would be taken */
function providerOf(config: ServerConfig): Provider | undefined {
  const { REGISTRY_JWKS_URL: jwks, REGISTRY_JWT_ISSUER: issuer, REGISTRY_JWT_AUDIENCE: audience } = config;
  if (jwks === undefined) return undefined;
  if (issuer !== undefined && audience !== undefined) return { jwksUrl: new URL(jwks), issuer, audience };
  throw new Error('With REGISTRY_JWKS_URL, set REGISTRY_JWT_ISSUER and REGISTRY_JWT_AUDIENCE, too.');
}

interface OpenLog extends ServeOptions {
  volume: string;
}

async function openLog(
  { config, volume, log, progress }: OpenLog,
  opened: (undo: () => unknown) => void,
): Promise<Nats> {
  if (config.NATS_URL !== undefined) return connected(parseNatsUrl(config.NATS_URL));
  const { path: binary } = await findNatsServer({ progress });
  const embedded = await startNatsServer({ folder: `${volume}/.nats`, binary, log });
  opened(() => embedded.close());
  const nats = await connected({ servers: [embedded.url], user: embedded.user, pass: embedded.password });
  embedded.onAddress(({ url }) => nats.nc.setServers([url]));
  return nats;

  async function connected(address: Parameters<typeof connectNats>[0]): Promise<Nats> {
    progress(`Connecting to NATS at ${address.servers.join(', ')}`);
    const nats = await connectNats(address, 'signalbox');
    opened(() => nats.nc.close());
    await ensureStream(nats);
    return nats;
  }
}

/**
 * Refuses a log that is not the one this volume was built from: its files would go backwards without anybody having
 * said so, and new events would be written over a loss. Returns the log's generation.
 */
async function checkPosition(nats: Nats, volume: string): Promise<number> {
  const head = await readHead(nats);
  const position = await readPosition(volume);
  if (position === null || (await compareLog(nats, head, position)) !== 'diverged') return head.generation;
  throw new Error(
    `The log is not the one that ${volume} was built from: that one had revision ${position.revision}, this one ends at ` +
      `${head.revision} or says something else there. Bring the right log back, or, to take this one as the truth, ` +
      `remove ${positionFile(volume)}.`,
  );
}
