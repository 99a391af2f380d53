import { resolve } from 'node:path';
import { clientVariables, readConfig, type ServerConfig, serverVariables } from '../config.ts';
import { isVolumeLocked } from '../files/lock.ts';
import { reasonOf } from '../files/system-error.ts';
import { isNodeTooOld, MINIMUM_NODE } from '../node-version.ts';
import { checkPublicUrl } from './address.ts';
import { checkArtifactStore } from './artifacts.ts';
import { type Check, ok, skipped, warning, wrong } from './check.ts';
import { checkBinary, checkEmbedded, checkNats, checkStoppedLog } from './nats.ts';
import { type Connect, checkReached, checkRegistry } from './registry.ts';
import { checkEnvFile, checkSecretFile } from './secret-files.ts';
import { checkPolicy, checkSignIn } from './sign-in.ts';
import { checkVolume, nearestFolder } from './volume.ts';

/** Checks an installation from the bottom up, as configured in `env`, and changes nothing. */
export async function* examine(env: NodeJS.ProcessEnv, connect: Connect): AsyncGenerator<Check> {
  yield checkNode(process.versions.node);
  yield await checkEnvFile(resolve('.env'));
  const server = checkVariables('variables of the server', () => readConfig(serverVariables, env));
  yield server.check;
  if (server.config) yield* examineServer(server.config);
  const client = checkVariables('variables of the command line', () => readConfig(clientVariables, env));
  yield client.check;
  if (client.config) yield* checkRegistry(client.config, connect);
}

function checkNode(version: string): Check {
  if (!isNodeTooOld(version)) return ok('node', `Node ${version}`);
  return wrong('node', `Node ${version} is too old.`, `Install Node ${MINIMUM_NODE} or newer.`);
}

function checkVariables<T>(name: string, read: () => T): { check: Check; config: T | null } {
  try {
    return { check: ok(name, 'valid'), config: read() };
  } catch (error) {
    const remedy = 'See docs/configuration.md. Checks that depend on these variables are skipped.';
    return { check: wrong(name, (error as Error).message, remedy), config: null };
  }
}

function checkLock(volume: string): { running: boolean; lock: Check } {
  try {
    const running = isVolumeLocked(volume);
    return { running, lock: ok('lock', `${running ? 'a' : 'no'} Signalbox runs on the volume`) };
  } catch (error) {
    return { running: false, lock: skipped('lock', `The lock of the volume cannot be read: ${reasonOf(error)}.`) };
  }
}

async function* examineServer(config: ServerConfig): AsyncGenerator<Check> {
  const volume = resolve(config.REGISTRY_VOLUME);
  const { running, lock } = checkLock(volume);
  if (config.NATS_URL !== undefined) yield* await checkNats(config.NATS_URL, volume);
  else {
    yield await checkBinary();
    if (running) yield* await checkEmbedded(volume);
    else yield await checkStoppedLog(volume);
  }
  const nearest = await nearestFolder(volume);
  if (nearest === null || nearest === volume) yield* await checkVolume(volume);
  else yield warning('volume', `${volume} does not exist.`, 'Check REGISTRY_VOLUME. The first start creates it.');
  yield await checkArtifactStore(config);
  yield await checkSecretFile(volume);
  yield lock;
  yield await checkPolicy(config.REGISTRY_POLICY);
  yield* await checkSignIn(config);
  yield checkPublicUrl(config);
  if (config.REGISTRY_PUBLIC_URL !== undefined) {
    const remedy = 'Check the proxy at that address, and that the registry behind it is running.';
    yield await checkReached('public URL', config.REGISTRY_PUBLIC_URL, remedy);
  }
}
