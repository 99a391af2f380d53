import { randomBytes } from 'node:crypto';
import { copyFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import packages from './azurite/package.json' with { type: 'json' };
import { cachedFolder, install } from './cached.ts';
import { freePort } from './nats.ts';
import { startServerProcess } from './server-process.ts';

const ACCOUNT = 'signalbox';
const CONTAINER = 'models';
const MAIN = 'node_modules/azurite/dist/src/blob/main.js';

/** An Azurite server, the emulator of Azure Blob Storage, with one container. */
export interface Azurite {
  endpoint: string;
  container: string;
  /** The variables that give the SDK its credentials. */
  env: Record<'AZURE_STORAGE_ACCOUNT' | 'AZURE_STORAGE_KEY', string>;
  stop(): Promise<void>;
}

/** Starts a server for the tests of a file; each test takes a prefix of its own. */
export async function startAzurite(): Promise<Azurite> {
  const folder = await cachedFolder(`azurite-${packages.dependencies.azurite}`, installIn);
  const port = await freePort();
  const key = randomBytes(64).toString('base64');
  const endpoint = `http://127.0.0.1:${port}/${ACCOUNT}`;
  const credential = new StorageSharedKeyCredential(ACCOUNT, key);
  const service = new BlobServiceClient(endpoint, credential, { retryOptions: { maxTries: 1 } });
  const argumentsIn = (data: string) => [
    join(folder, MAIN),
    '--blobHost=127.0.0.1',
    `--blobPort=${port}`,
    `--location=${data}`,
    '--silent',
    '--disableTelemetry',
    // Its newest version knows only the protocol of older SDKs by name.
    '--skipApiVersionCheck',
  ];
  const ready = () => service.getContainerClient(CONTAINER).createIfNotExists();
  const stop = await startServerProcess(
    process.execPath,
    argumentsIn,
    { AZURITE_ACCOUNTS: `${ACCOUNT}:${key}` },
    ready,
  );
  return { endpoint, container: CONTAINER, env: { AZURE_STORAGE_ACCOUNT: ACCOUNT, AZURE_STORAGE_KEY: key }, stop };
}

/** Its 240 MiB would slow down every installation of Signalbox, so it is no dependency of the project. */
async function installIn(folder: string): Promise<void> {
  for (const name of ['package.json', 'package-lock.json']) {
    await copyFile(join(import.meta.dirname, 'azurite', name), join(folder, name));
  }
  // npm runs on the Node.js of the tests.
  const PATH = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`;
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await install('npm', ['ci', ...options], { cwd: folder, env: { ...process.env, PATH } });
}
