import { jetstreamManager, type StreamInfo } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { checkVersion, connectOnce, type NatsAddress, parseNatsUrl } from '../log/connection.ts';
import { installedNatsServer, MINIMUM_NATS } from '../log/embedded/binary.ts';
import { lastAddress } from '../log/embedded/config.ts';
import { dangersOf, STREAM, streamInfo } from '../log/stream.ts';
import { reasonOf } from '../system-error.ts';
import { type Check, isWrong, ok, skipped, warning, wrong } from './check.ts';

const TIMEOUT_MS = 5_000;

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

/** The server of `NATS_URL`, and the log on it as far as it is there. */
export async function checkNats(url: string): Promise<Check[]> {
  try {
    return await checkLog(parseNatsUrl(url));
  } catch (error) {
    if (error instanceof TypeError) return [wrong('nats', error.message, 'Write nats://user:password@host:4222.')];
    throw error;
  }
}

/** The embedded server, while a registry runs it. */
export async function checkEmbedded(volume: string): Promise<Check[]> {
  const { url, user, password } = await lastAddress(`${volume}/.nats`);
  if (new URL(url).port === '0') return [skipped('nats', `Where it is, only the owner of ${volume}/.nats can read.`)];
  return checkLog({ servers: [url], user, pass: password });
}

async function checkLog(address: NatsAddress): Promise<Check[]> {
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
    return isWrong(server) ? [server] : [server, ...(await checkJetStream(nc))];
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
