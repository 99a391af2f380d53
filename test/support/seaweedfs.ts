import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { pythonWith } from './python.ts';

/** For `beforeAll`: if SeaweedFS is not cached, it is installed first. */
export const INSTALL_TIMEOUT_MS = 15 * 60_000;
const START_TIMEOUT_MS = 60_000;
const BUCKET = 'models';
const PORTS = ['s3', 'filer', 'master', 'volume'].flatMap((part) => [`${part}.port`, `${part}.port.grpc`]);

/** A SeaweedFS server with S3's interface and one bucket: every further bucket would reserve volumes. */
export interface SeaweedFs {
  endpoint: string;
  bucket: string;
  /** The variables that give an SDK its credentials. */
  env: Record<'AWS_ACCESS_KEY_ID' | 'AWS_SECRET_ACCESS_KEY', string>;
  stop(): Promise<void>;
}

/** Starts a server for the tests of a file; each test takes a prefix of its own. */
export async function startSeaweedFs(): Promise<SeaweedFs> {
  const weed = join(dirname(await pythonWith(join(import.meta.dirname, 'seaweedfs/requirements.txt'))), 'weed');
  // It exits if another process has taken one of its ports since they were found free.
  return start(weed).catch(() => start(weed));
}

async function start(weed: string): Promise<SeaweedFs> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-seaweedfs-'));
  const ports = await freePorts();
  const env = { AWS_ACCESS_KEY_ID: 'tests', AWS_SECRET_ACCESS_KEY: 'the secret of the tests' };
  const child = spawn(weed, await argumentsFor(folder, ports, env), {
    // Without the environment, whose AWS variables it would accept as credentials.
    env: { HOME: folder, PATH: process.env.PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (data: Buffer) => {
    log = (log + data).slice(-20_000);
  });
  const exited = once(child, 'exit');
  const stop = async () => {
    // It has nothing to save, and would wait 10 s after SIGTERM.
    child.kill('SIGKILL');
    await exited;
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    for (const [name, port] of ports) {
      if (name.endsWith('grpc')) await rm(`/tmp/seaweedfs-${name.split('.')[0]}-grpc-${port}.sock`, { force: true });
    }
  };
  const endpoint = `http://127.0.0.1:${ports.get('s3.port')}`;
  try {
    await Promise.race([untilWritable(endpoint, env), exited.then(() => Promise.reject(new Error('it exited')))]);
  } catch (cause) {
    await stop();
    throw new Error(`SeaweedFS did not start:\n${log}`, { cause });
  }
  return { endpoint, bucket: BUCKET, env, stop };
}

async function argumentsFor(folder: string, ports: Map<string, number>, env: SeaweedFs['env']): Promise<string[]> {
  const identities = join(folder, 'identities.json');
  const credentials = [{ accessKey: env.AWS_ACCESS_KEY_ID, secretKey: env.AWS_SECRET_ACCESS_KEY }];
  await writeFile(identities, JSON.stringify({ identities: [{ name: 'tests', credentials, actions: ['Admin'] }] }));
  return [
    'server',
    '-ip=127.0.0.1',
    '-ip.bind=127.0.0.1',
    `-dir=${folder}`,
    ...Array.from(ports, ([name, port]) => `-${name}=${port}`),
    '-master.telemetry=false',
    '-master.volumeSizeLimitMB=256',
    '-volume.max=300',
    `-filer.localSocket=${folder}/filer.sock`,
    '-s3',
    `-s3.config=${identities}`,
    `-s3.localSocket=${folder}/s3.sock`,
    // Otherwise an administrator's upload creates a missing bucket.
    '-s3.autoCreateBucket=false',
    '-s3.port.lance=0',
    '-s3.port.iceberg=0',
  ];
}

async function untilWritable(endpoint: string, env: SeaweedFs['env']): Promise<void> {
  const credentials = { accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: env.AWS_SECRET_ACCESS_KEY };
  const client = new S3Client({ endpoint, credentials, forcePathStyle: true, region: 'us-east-1', maxAttempts: 1 });
  const end = Date.now() + START_TIMEOUT_MS;
  const insist = async (request: () => Promise<unknown>) => {
    for (;;) {
      const failure = await request().then(
        () => null,
        (error: unknown) => error,
      );
      if (failure === null) return;
      if (Date.now() > end) throw failure;
      await sleep(100);
    }
  };
  try {
    await insist(() => client.send(new CreateBucketCommand({ Bucket: BUCKET })));
    await insist(() => client.send(new PutObjectCommand({ Bucket: BUCKET, Key: 'ready', Body: 'ready' })));
  } finally {
    client.destroy();
  }
}

async function freePorts(): Promise<Map<string, number>> {
  const probes = PORTS.map(() => createServer().listen(0, '127.0.0.1'));
  await Promise.all(probes.map((probe) => once(probe, 'listening')));
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  await Promise.all(probes.map((probe) => once(probe.close(), 'close')));
  return new Map(PORTS.map((name, index) => [name, ports[index]!]));
}
