import { jetstream, jetstreamManager, type StreamInfo } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { reasonOf } from '../files/system-error.ts';
import { checkVersion, connectOnce, type NatsAddress, parseNatsUrl } from '../log/connection.ts';
import { installedNatsServer, MINIMUM_NATS } from '../log/embedded/binary.ts';
import { lastAddress } from '../log/embedded/config.ts';
import { dangersOf, headOf, STREAM, streamInfo } from '../log/stream.ts';
import { type OtherLog, otherLog, withoutLog } from '../serve/position.ts';
import { type Check, isWrong, ok, skipped, warning, wrong } from './check.ts';

const TIMEOUT_MS = 5_000;
/** The head of the log that the first start would create. */
const NO_LOG = { revision: 0, generation: 0, restoring: false };

/** Checks that the embedded nats-server can be started, without downloading it. */
export async function checkBinary(): Promise<Check> {
  try {
    const found = await installedNatsServer({ progress: () => undefined });
    if (found) return ok('nats-server', `nats-server ${found.version} at ${found.path}`);
    return ok('nats-server', 'not installed; the first start downloads it');
  } catch (error) {
    return wrong('nats-server', reasonOf(error), 'See docs/configuration.md, "nats-server".');
  }
}

/** Checks the server of `NATS_URL`, its log if there is one, and whether the volume was built from that log. */
export async function checkNats(url: string, volume?: string): Promise<Check[]> {
  try {
    return await checkLog(parseNatsUrl(url), volume, false);
  } catch (error) {
    if (error instanceof TypeError) return [wrong('nats', error.message, 'Use nats://user:password@host:4222.')];
    throw error;
  }
}

/** Checks the embedded server while a registry runs it. */
export async function checkEmbedded(volume: string): Promise<Check[]> {
  const { url, user, password } = await lastAddress(`${volume}/.nats`);
  if (new URL(url).port === '0') return [skipped('nats', `Only the owner of ${volume}/.nats can read its address.`)];
  return checkLog({ servers: [url], user, pass: password }, volume, true);
}

/** Checks that the log of a volume exists while no registry runs it. */
export async function checkStoppedLog(volume: string): Promise<Check> {
  return (
    (await positionCheck(() => withoutLog(volume))) ??
    skipped('nats', 'The embedded nats-server runs only while the registry does.')
  );
}

async function checkLog(address: NatsAddress, volume: string | undefined, embedded: boolean): Promise<Check[]> {
  const where = address.servers.join(', ');
  let nc: NatsConnection;
  try {
    nc = await connectOnce(address);
  } catch (error) {
    const remedy = 'Start nats-server there, or correct NATS_URL: its address, user and password.';
    return [wrong('nats', `${where} cannot be reached: ${reasonOf(error)}.`, remedy)];
  }
  try {
    const server = checkServer(nc, where);
    if (isWrong(server)) return [server];
    const position = volume === undefined ? null : await positionCheck(() => positionOn(nc, volume, embedded));
    return [server, ...(await checkJetStream(nc)), ...(position ? [position] : [])];
  } finally {
    await nc.close();
  }
}

function checkServer(nc: NatsConnection, where: string): Check {
  const { version } = nc.info!;
  try {
    checkVersion(version);
    return ok('nats', `nats-server ${version} at ${where}`);
  } catch (error) {
    return wrong('nats', reasonOf(error), `Upgrade the server at ${where} to ${MINIMUM_NATS} or newer.`);
  }
}

/** Returns null unless the volume is known to be built from another log. */
async function positionOn(nc: NatsConnection, volume: string, embedded: boolean): Promise<OtherLog | null> {
  const jsm = await jetstreamManager(nc, { timeout: TIMEOUT_MS });
  const nats = { nc, js: jetstream(nc), jsm };
  const info = await streamInfo(jsm);
  return otherLog(nats, info ? headOf(info) : NO_LOG, volume, embedded);
}

async function positionCheck(compare: () => Promise<OtherLog | null>): Promise<Check | null> {
  try {
    const other = await compare();
    return other && wrong('position', other.detail, other.remedy);
  } catch (error) {
    return skipped('position', `Cannot check whether the volume was built from this log: ${reasonOf(error)}.`);
  }
}

async function checkJetStream(nc: NatsConnection): Promise<Check[]> {
  try {
    const jsm = await jetstreamManager(nc, { timeout: TIMEOUT_MS });
    const stream = await streamInfo(jsm);
    return [ok('jetstream', 'JetStream answers'), ...checkStream(stream, nc.info!.cluster !== undefined)];
  } catch (error) {
    const remedy =
      'Start nats-server with JetStream (-js, or jetstream { } in its configuration), and allow this user to use it.';
    return [wrong('jetstream', `JetStream does not answer: ${reasonOf(error)}.`, remedy)];
  }
}

function checkStream(stream: StreamInfo | null, clustered: boolean): Check[] {
  if (!stream) return [skipped('stream', `There is no stream ${STREAM} yet. The first start creates it.`)];
  const { config, state } = stream;
  const dangers = dangersOf(config);
  if (dangers.length > 0) {
    const remedy = `Correct it with "nats stream edit ${STREAM}". If the server refuses that, give Signalbox its own NATS account.`;
    return [wrong('stream', `The configuration of ${STREAM} is not safe: ${dangers.join('; ')}.`, remedy)];
  }
  const found = ok('stream', `${STREAM} holds ${state.messages} events, up to revision ${state.last_seq}`);
  return clustered ? [found, checkReplicas(stream)] : [found];
}

function checkReplicas({ config, cluster }: StreamInfo): Check {
  const copies = config.num_replicas;
  if (copies < 3) {
    const remedy = `Run "nats stream edit ${STREAM} --replicas 3".`;
    return warning('replicas', `${STREAM} has ${copies === 1 ? 'one copy' : `${copies} copies`} in a cluster.`, remedy);
  }
  const behind = (cluster?.replicas ?? []).filter(({ current, offline }) => offline || !current);
  if (!cluster?.leader) return wrong('replicas', `${STREAM} has no leader.`, 'Start the other servers of the cluster.');
  if (behind.length === 0) return ok('replicas', `${STREAM} has ${copies} copies, all of them current`);
  const names = behind.map(({ name }) => name).join(', ');
  return warning('replicas', `Behind or offline: ${names} (of ${copies} copies).`, 'Check these servers.');
}
