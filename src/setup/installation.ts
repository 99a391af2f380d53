import { existsSync } from 'node:fs';
import { access, constants, mkdir } from 'node:fs/promises';
import { localActor } from '../access/client-token.ts';
import { signToken } from '../access/tokens.ts';
import type { CreatedKey } from '../api/keys.ts';
import { createClient } from '../client/client.ts';
import { isVolumeLocked } from '../files/lock.ts';
import { replaceFile } from '../files/replace.ts';
import { reasonOf, sentenceOf } from '../files/system-error.ts';
import { serve } from '../serve.ts';
import { createLogger } from '../telemetry.ts';
import { checkAddress, checkPublicUrl, localUrl } from './address.ts';
import { checkArtifactStore } from './artifacts.ts';
import { type Check, isWrong, ok, wrong } from './check.ts';
import { envText, type Variable } from './env-file.ts';
import { checkBinary, checkNats } from './nats.ts';
import { filesOf, type Plan } from './plan.ts';
import { SETTINGS } from './settings.ts';
import { checkSignIn } from './sign-in.ts';
import { checkVolume, nearestFolder } from './volume.ts';

const TOKEN_SECONDS = 60;

/** Checks everything that an installation needs, and changes nothing. */
export async function* tryOut({ config, folder, force }: Plan): AsyncGenerator<Check> {
  const volume = config.REGISTRY_VOLUME;
  const free = checkFree(volume);
  yield free;
  if (isWrong(free)) return;
  yield* await checkVolume(volume);
  yield* config.NATS_URL === undefined ? [await checkBinary()] : await checkNats(config.NATS_URL);
  yield await checkArtifactStore(config);
  yield await checkAddress(config);
  yield checkPublicUrl(config);
  yield* await checkSignIn(config);
  yield await checkFiles(folder, force);
}

function checkFree(volume: string): Check {
  try {
    if (!isVolumeLocked(volume)) return ok('lock', 'no Signalbox runs on the volume');
  } catch (error) {
    const detail = `The lock of ${volume} cannot be read: ${reasonOf(error)}.`;
    return wrong('lock', detail, 'Run this command as the owner of the volume.');
  }
  const remedy = 'Stop it, or use another volume. To create a key for another loader, run "signalbox key create".';
  return wrong('lock', `A Signalbox runs on ${volume}.`, remedy);
}

async function checkFiles(folder: string, force: boolean): Promise<Check> {
  const files = Object.values(filesOf(folder));
  const existing = files.filter((path) => existsSync(path));
  if (existing.length > 0 && !force) {
    return wrong('files', `${existing.join(' and ')} would be overwritten.`, 'Add --force, or give another --out.');
  }
  try {
    await access((await nearestFolder(folder)) ?? folder, constants.W_OK);
    return ok('files', `${files.join(' and ')} can be written`);
  } catch (error) {
    return wrong('files', `${folder} cannot be written: ${reasonOf(error)}.`, 'Give another --out.');
  }
}

/** Starts the registry once to create the loaders' key. The key is null if the registry does not start. */
export async function tryStart(
  plan: Plan,
  progress: (line: string) => void,
): Promise<{ check: Check; key: CreatedKey | null }> {
  try {
    const key = await makeLoaderKey(plan, progress);
    return { check: ok('start', `the registry starts; it created the API key ${key.id} for loaders`), key };
  } catch (error) {
    const remedy = 'Correct the problem, and run this command again.';
    return { check: wrong('start', sentenceOf(error), remedy), key: null };
  }
}

/**
 * Starts the configured registry on a free port of this machine, creates an API key for the loaders of a model, and stops
 * the registry. Apart from the key, it leaves what every start creates.
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

/** Writes the files for `serve` and for loaders. Returns their paths. */
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
    { name: 'REGISTRY_JWT_SECRET', value: secret, comment: 'signs tokens; anyone who knows it can act as an admin' },
    { name: 'REGISTRY_DSN', value: localUrl(config), comment: 'address for the command line on this machine' },
    ...Object.entries(kept).map(([name, value]) => ({ name, value, comment: 'kept from the previous file' })),
  ];
}

function loaderFile({ config, loader: { model, environment } }: Plan, { id, key }: CreatedKey): Variable[] {
  const dsn = config.REGISTRY_PUBLIC_URL ?? localUrl(config);
  return [
    { name: 'REGISTRY_DSN', value: dsn, comment: 'address of the registry' },
    { name: 'REGISTRY_TOKEN', value: key, comment: `API key ${id}: may read ${model} and report loader states` },
    { name: 'REGISTRY_MODEL', value: model, comment: 'the model to follow' },
    { name: 'REGISTRY_ENVIRONMENT', value: environment, comment: 'the environment to follow, if not production' },
  ];
}
