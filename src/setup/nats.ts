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
/** What the first start would make. */
const NO_LOG = { revision: 0, generation: 0, restoring: false };

/** Whether the embedded nats-server could be started; nothing is fetched. */
export async function checkBinary(): Promise<Check> {
  try {
    const found = await installedNatsServer({ progress: () => undefined });
    if (found) return ok('nats-server', `nats-server ${found.version} at ${found.path}`);
    return ok('nats-server', 'none is installed; the first start fetches one');
  } catch (error) {
    return wrong('nats-server', reasonOf(error), 'See docs/configuration.md, "nats-server".');
  }
}

/** The server of `NATS_URL`, and the log on it as far as it is there, which a volume may have been built from. */
export async function checkNats(url: string, volume?: string): Promise<Check[]> {
  try {
    return await checkLog(parseNatsUrl(url), volume, false);
  } catch (error) {
    if (error instanceof TypeError) return [wrong('nats', error.message, 'Write nats://user:password@host:4222.')];
    throw error;
  }
}

/** The embedded server, while a registry runs it. */
export async function checkEmbedded(volume: string): Promise<Check[]> {
  const { url, user, password } = await lastAddress(`${volume}/.nats`);
  if (new URL(url).port === '0') return [skipped('nats', `Where it is, only the owner of ${volume}/.nats can read.`)];
  return checkLog({ servers: [url], user, pass: password }, volume, true);
}

/** Whether the log of a volume is there, while no registry runs it. */
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

/** Nothing where it agrees, or where NATS does not say: then another check tells. */
async function positionOn(nc: NatsConnection, volume: string, embedded: boolean): Promise<OtherLog | null> {
  const jsm = await jetstreamManager(nc, { timeout: TIMEOUT_MS });
  const nats = { nc, js: jetstream(nc), jsm };
  const info = await streamInfo(jsm);
  return otherLog(nats, info ? headOf(info) : NO_LOG, volume, embedded);
}

async function positionCheck(look: () => Promise<OtherLog | null>): Promise<Check | null> {
  try {
    const other = await look();
    return other && wrong('position', other.detail, other.remedy);
  } catch (error) {
    return skipped('position', `Whether the volume was built from this log: ${reasonOf(error)}.`);
  }
}

async function checkJetStream(nc: NatsConnection): Promise<Check[]> {
  try {
    const jsm = await jetstreamManager(nc, { timeout: TIMEOUT_MS });
    const stream = await streamInfo(jsm);
    return [ok('jetstream', 'JetStream answers'), ...checkStream(stream, nc.info!.cluster !== undefined)];
  } catch (error) {
    const remedy =
      'Start nats-server with JetStream (-js, or jetstream { } in its configuration), and let this user use it.';
    return [wrong('jetstream', `JetStream does not answer: ${reasonOf(error)}.`, remedy)];
  }
}

function checkStream(stream: StreamInfo | null, clustered: boolean): Check[] {
  if (!stream) return [skipped('stream', `There is no stream ${STREAM} yet; the first start makes it.`)];
  const { config, state } = stream;
  const dangers = dangersOf(config);
  if (dangers.length > 0) {
    const remedy = `Correct it (nats stream edit ${STREAM}); where the server refuses that, give Signalbox a NATS account of its own.`;
    return [wrong('stream', `${STREAM} has another configuration: ${dangers.join('; ')}.`, remedy)];
  }
  const found = ok('stream', `${STREAM} holds ${state.messages} events, up to revision ${state.last_seq}`);
  return clustered ? [found, checkReplicas(stream)] : [found];
}

function checkReplicas({ config, cluster }: StreamInfo): Check {
  const copies = config.num_replicas;
  if (copies < 3) {
    const remedy = `Give it three: nats stream edit ${STREAM} --replicas 3`;
    return warning('replicas', `${STREAM} has ${copies === 1 ? 'one copy' : `${copies} copies`} in a cluster.`, remedy);
  }
  const behind = (cluster?.replicas ?? []).filter(({ current, offline }) => offline || !current);
  if (!cluster?.leader) return wrong('replicas', `${STREAM} has no leader.`, 'Start the servers of the cluster.');
  if (behind.length === 0) return ok('replicas', `${STREAM} has ${copies} copies, all of them current`);
  const names = behind.map(({ name }) => name).join(', ');
  return warning('replicas', `${names} of ${copies} is behind or away.`, 'Look after these servers of the cluster.');
}
