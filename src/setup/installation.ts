import { existsSync } from 'node:fs';
import { access, constants, mkdir } from 'node:fs/promises';
import { localActor } from '../access/client-token.ts';
import { signToken } from '../access/tokens.ts';
import type { CreatedKey } from '../api/keys.ts';
import { createClient } from '../client/client.ts';
import { isVolumeLocked } from '../files/lock.ts';
import { replaceFile } from '../files/replace.ts';
import { reasonOf } from '../files/system-error.ts';
import { serve } from '../serve.ts';
import { createLogger } from '../telemetry.ts';
import { checkAddress, checkPublicUrl, localUrl } from './address.ts';
import { type Check, isWrong, ok, wrong } from './check.ts';
import { envText, type Variable } from './env-file.ts';
import { checkBinary, checkNats } from './nats.ts';
import { filesOf, type Plan } from './plan.ts';
import { SETTINGS } from './settings.ts';
import { checkSignIn } from './sign-in.ts';
import { checkVolume, nearestFolder } from './volume.ts';

const TOKEN_SECONDS = 60;

/** Tries everything that an installation stands on, and changes nothing. */
export async function* tryOut({ config, folder, force }: Plan): AsyncGenerator<Check> {
  const volume = config.REGISTRY_VOLUME;
  const free = checkFree(volume);
  yield free;
  if (isWrong(free)) return;
  yield* await checkVolume(volume);
  yield* config.NATS_URL === undefined ? [await checkBinary()] : await checkNats(config.NATS_URL);
  yield await checkAddress(config);
  yield checkPublicUrl(config);
  yield* await checkSignIn(config);
  yield await checkFiles(folder, force);
}

function checkFree(volume: string): Check {
  try {
    if (!isVolumeLocked(volume)) return ok('lock', 'no Signalbox runs on the volume');
  } catch (error) {
    const remedy = 'Run this as the user that owns it.';
    return wrong('lock', `Whether a Signalbox runs on ${volume} cannot be told: ${reasonOf(error)}.`, remedy);
  }
  const remedy = 'Stop it, or name another volume. A key for another loader: signalbox key create.';
  return wrong('lock', `A Signalbox runs on ${volume}.`, remedy);
}

async function checkFiles(folder: string, force: boolean): Promise<Check> {
  const files = Object.values(filesOf(folder));
  const there = files.filter((path) => existsSync(path));
  if (there.length > 0 && !force) {
    return wrong('files', `${there.join(' and ')} would be overwritten.`, 'Say --force, or --out with another folder.');
  }
  try {
    await access((await nearestFolder(folder)) ?? folder, constants.W_OK);
    return ok('files', `${files.join(' and ')} can be written`);
  } catch (error) {
    return wrong('files', `${folder} cannot be written: ${reasonOf(error)}.`, 'Say --out with another folder.');
  }
}

/** Proves that the configuration starts, by making the loaders' key; null where it does not. */
export async function tryStart(
  plan: Plan,
  progress: (line: string) => void,
): Promise<{ check: Check; key: CreatedKey | null }> {
  try {
    const key = await makeLoaderKey(plan, progress);
    return { check: ok('start', `the registry starts, and has made the API key ${key.id} for loaders`), key };
  } catch (error) {
    const remedy = 'Correct that and run this again.';
    return { check: wrong('start', error instanceof Error ? error.message : String(error), remedy), key: null };
  }
}

/**
 * Starts the registry as it is configured, on a free port of this machine, lets it make an API key for the loaders of a
 * model, and stops it: what this leaves is what any start makes.
 */
async function makeLoaderKey({ config, loader }: Plan, progress: (line: string) => void): Promise<CreatedKey> {
  const quiet = { REGISTRY_DISCOVERY: 'off', REGISTRY_HISTORY_FILE: 'off' } as const;
  const trial = { ...config, ...quiet, HOST: '127.0.0.1', PORT: 0 };
  const server = await serve({ config: trial, log: createLogger('error'), progress });
  try {
    const [secret] = config.REGISTRY_JWT_SECRET!;
    const admin = { actor: localActor(), role: 'admin' };
    const token = () => signToken(Buffer.from(secret!), admin, TOKEN_SECONDS, new Date());
    const { model } = loader;
    const json = { name: `loader-${model}`.slice(0, 64), reach: { allow: ['read', 'report'], models: [model] } };
    return await createClient({ dsn: server.url, token }).call<CreatedKey>('POST', '/api/keys', { json });
  } finally {
    await server.close();
  }
}

/** Writes what `serve` reads, and what loaders read; returns the paths. */
export async function writeFiles(plan: Plan, key: CreatedKey): Promise<string[]> {
  const { server, loader } = filesOf(plan.folder);
  await mkdir(plan.folder, { recursive: true });
  await replaceFile(server, envText('For "signalbox serve" and the command line in this folder', serverFile(plan)));
  await replaceFile(loader, envText('For inference services: docs/loaders.md', loaderFile(plan, key)));
  return [server, loader];
}

function serverFile({ config, kept }: Plan): Variable[] {
  const secret = config.REGISTRY_JWT_SECRET!.join(',');
  return [
    ...SETTINGS.map(({ name, what }) => ({ name, value: config[name]?.toString(), comment: what })),
    { name: 'REGISTRY_JWT_SECRET', value: secret, comment: 'signs tokens: whoever has it is an admin' },
    { name: 'REGISTRY_DSN', value: localUrl(config), comment: 'where the command line on this machine finds it' },
    ...Object.entries(kept).map(([name, value]) => ({ name, value, comment: 'kept from the file that was here' })),
  ];
}

function loaderFile({ config, loader: { model, environment } }: Plan, { id, key }: CreatedKey): Variable[] {
  const dsn = config.REGISTRY_PUBLIC_URL ?? localUrl(config);
  return [
    { name: 'REGISTRY_DSN', value: dsn, comment: 'the registry' },
    { name: 'REGISTRY_TOKEN', value: key, comment: `API key ${id}: may read ${model} and report on it` },
    { name: 'REGISTRY_MODEL', value: model, comment: 'the model to follow' },
    { name: 'REGISTRY_ENVIRONMENT', value: environment, comment: 'the environment to follow, if not production' },
  ];
}
