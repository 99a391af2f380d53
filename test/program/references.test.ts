import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DeleteObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Loader } from '../../src/loader/index.ts';
import { follow, type TestModel } from '../loader/support.ts';
import { CA_FILE, startFilesServer } from '../support/files-server.ts';
import { temporaryFolder } from '../support/folder.ts';
import { cliWith, type Program, startProgram } from '../support/program.ts';
import { INSTALL_TIMEOUT_MS, startSeaweedFs } from '../support/seaweedfs.ts';
import { ok, sha256, shared, until, volumeFolder } from './support.ts';

const seaweed = shared(async (ends) => {
  const server = await startSeaweedFs();
  ends(server.stop);
  return server;
}, INSTALL_TIMEOUT_MS);

const artifactOf = (source: string, text: string, path = 'model.txt') => {
  return { path, digest: sha256(text), size: Buffer.byteLength(text), source };
};
const publish = (program: Program, version: string, ...artifacts: object[]) =>
  program.ask('POST', '/api/models/default/versions', { version, artifacts });
const fileOf = ({ ask }: Program, version: string, headers = {}) =>
  ask('GET', `/api/models/default/versions/${version}/files/model.txt`, undefined, headers);
const activate = ({ ask }: Program, version: string) =>
  ask('POST', `/api/models/default/versions/${version}/activate`, { environment: 'production' });
const codeOf = async (response: Response) => ((await response.json()) as { code: string }).code;

/** What a loader serves. */
async function served(loader: Loader<TestModel>): Promise<string[]> {
  await loader.ready();
  return loader.use(({ version, model }) => [version, model.text]);
}

/** Forgets what is on the volume besides the log, as on another machine or after eviction. */
async function forgetCopies({ volume }: Program): Promise<void> {
  for (const name of ['blobs', 'versions', 'latest', 'active'])
    await rm(join(volume, name), { recursive: true, force: true });
}

describe('artifacts in a bucket that is not the store', () => {
  /** A registry that may read below a prefix of its own, and the objects there. */
  async function registry(store: 'bucket' | 'volume') {
    const { endpoint, bucket, env: credentials } = seaweed();
    const id = randomUUID();
    const at = `s3://${bucket}/${id}`;
    const env = {
      REGISTRY_DISCOVERY: 'off',
      REGISTRY_REFERENCES: `${at}/data/?endpoint=${endpoint}`,
      ...(store === 'bucket' && { REGISTRY_ARTIFACTS: `${at}/store?endpoint=${endpoint}` }),
      ...credentials,
    };
    const client = new S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: env.AWS_ACCESS_KEY_ID!, secretAccessKey: env.AWS_SECRET_ACCESS_KEY! },
    });
    onTestFinished(() => client.destroy());
    const object = (key: string) => ({ Bucket: bucket, Key: `${id}/data/${key}` });
    return {
      env,
      sourceOf: (key: string) => `${at}/data/${key}`,
      put: (key: string, text: string) => client.send(new PutObjectCommand({ ...object(key), Body: text })),
      remove: (key: string) => client.send(new DeleteObjectCommand(object(key))),
      program: await startProgram(await volumeFolder(), env),
    };
  }

  it.each(['bucket', 'volume'] as const)('are published, activated, loaded and watched (store: %s)', async (store) => {
    const { env, program, sourceOf, put, remove } = await registry(store);
    await put('one.txt', 'model one');
    await put('two.txt', 'model two');
    await put('metadata.json', '{"requires": {"python": ">=3.11"}}');
    const one = artifactOf(sourceOf('one.txt'), 'model one');
    const two = artifactOf(sourceOf('two.txt'), 'model two');
    const metadata = artifactOf(sourceOf('metadata.json'), '{"requires": {"python": ">=3.11"}}', 'metadata.json');
    const response = await publish(program, '1.0.0', one, metadata);
    expect(response.status).toBe(201);
    expect(await response.json()).toMatchObject({
      manifest: { artifacts: [one, metadata], requires: { python: '>=3.11' } },
    });
    expect((await publish(program, '1.0.0', one, metadata)).status).toBe(200);
    expect((await activate(program, '1.0.0')).status).toBe(200);
    const cacheDir = await temporaryFolder();
    const loader = await follow(program, { cacheDir });
    expect(await served(loader)).toEqual(['1.0.0', 'model one']);
    await loader.close();

    expect((await publish(program, '2.0.0', two)).status).toBe(201);
    expect((await activate(program, '2.0.0')).status).toBe(200);
    await program.stop();
    await forgetCopies(program);
    await put('two.txt', 'model six');
    const again = await startProgram(program.volume, env);
    const refused = await fileOf(again, '2.0.0');
    expect([refused.status, await codeOf(refused)]).toEqual([409, 'reference-changed']);
    expect(await codeOf(await fileOf(again, '2.0.0', { Range: 'bytes=0-3' }))).toBe('reference-changed');
    expect(await (await fileOf(again, '1.0.0', { Range: 'bytes=0-4' })).text()).toBe('model');
    await until(async () => (await ok(again, 'GET', '/readyz')).artifacts.length > 0);
    expect(await ok(again, 'GET', '/readyz')).toMatchObject({
      ready: true,
      artifacts: [{ version: '2.0.0', missing: 1, environments: ['production'] }],
    });
    const kept = await follow(again, { cacheDir });
    await until(() => kept.status().error !== null);
    expect(await served(kept)).toEqual(['1.0.0', 'model one']);

    await put('two.txt', 'model two');
    await until(() => kept.status().current?.version === '2.0.0');
    await ok(again, 'POST', '/api/models/default/rollback', { reason: 'x' });
    await again.stop();
    await forgetCopies(again);
    await remove('two.txt');
    const third = await startProgram(program.volume, env);
    expect(await codeOf(await fileOf(third, '2.0.0'))).toBe('reference-changed');
    const activation = await activate(third, '2.0.0');
    expect([activation.status, await codeOf(activation)]).toEqual([409, 'reference-changed']);
    await put('two.txt', 'model two');
    expect((await activate(third, '2.0.0')).status).toBe(200);
  });

  it('are published by the command line, which sends no bytes', async () => {
    const { env, program, sourceOf, put } = await registry('bucket');
    const { endpoint } = seaweed();
    const variables = { ...env, REGISTRY_DSN: program.url, REGISTRY_VOLUME: program.volume };
    const reference = (key: string, ...args: string[]) =>
      cliWith(variables, 'publish', '--reference', `${sourceOf(key)}?endpoint=${endpoint}`, '--json', ...args);
    await put('fraud/model.txt', 'model one');
    await put('fraud/metadata.json', '{"requires": {"python": ">=3.11"}, "metrics": {"auc": 0.9}}');
    await put('fraud/deep/notes.txt', 'notes');
    await put('fraud/.hidden', 'x');
    const published = await reference('fraud', '--version', '1.0.0');
    expect([published.code, published.stderr]).toEqual([0, '']);
    expect(JSON.parse(published.stdout)).toMatchObject({
      version: '1.0.0',
      manifest: {
        artifacts: [
          { path: 'deep/notes.txt', source: sourceOf('fraud/deep/notes.txt') },
          { path: 'metadata.json' },
          artifactOf(sourceOf('fraud/model.txt'), 'model one'),
        ],
        requires: { python: '>=3.11' },
        metrics: { auc: 0.9 },
      },
    });
    expect(await (await fileOf(program, '1.0.0')).text()).toBe('model one');
    const one = await reference('fraud/model.txt', '--bump', 'minor');
    expect(JSON.parse(one.stdout).manifest.artifacts).toEqual([artifactOf(sourceOf('fraud/model.txt'), 'model one')]);
    const nothing = await reference('other/', '--version', '3.0.0');
    expect([nothing.code, nothing.stderr]).toEqual([1, `signalbox: There is nothing at ${sourceOf('other/')}.\n`]);
    await put('odd/100%.txt', 'x');
    const odd = await reference('odd', '--version', '3.0.0');
    expect(odd.stderr).toContain('cannot be published under this name');
    expect((await cliWith(variables, 'publish', '--version', '3.0.0')).code).toBe(2);
    expect((await cliWith(variables, 'publish', '--reference', 'file:/x', '--version', '3.0.0')).code).toBe(2);
  });
});

it('reads files of an HTTPS server below the prefix that the operator allows, and nothing else', async () => {
  const server = await startFilesServer();
  const at = `https://127.0.0.1:${server.port}`;
  const program = await startProgram(await volumeFolder(), {
    REGISTRY_DISCOVERY: 'off',
    REGISTRY_REFERENCES: `${at}/models/, https://localhost:${server.port}/models/`,
    NODE_EXTRA_CA_CERTS: CA_FILE,
  });
  const serve = (path: string) => server.files.set(path, { bytes: Buffer.from('model one'), etag: '"one"' });
  for (const path of ['/models/model.txt', '/secret/model.txt', '/models-secret/model.txt']) serve(path);
  const outside = [
    `${at}/secret/model.txt`,
    `${at}/models-secret/model.txt`,
    `https://localhost:${server.port}/models/model.txt`, // by its name, loopback is not allowed
    `https://[::ffff:7f00:1]:${server.port}/models/model.txt`,
    'https://127.0.0.1/models/model.txt',
    's3://datasets/models/model.txt',
  ];
  for (const source of outside) {
    const refused = await publish(program, '1.0.0', artifactOf(source, 'model one'));
    expect([source, refused.status, await codeOf(refused)]).toEqual([source, 403, 'reference-not-allowed']);
  }
  const invalid = [`${at}/models/../secret/model.txt`, `${at}/models/%2e%2e/secret/model.txt`, `${at}/models/a?b`];
  for (const source of invalid) {
    expect(await codeOf(await publish(program, '1.0.0', artifactOf(source, 'model one')))).toBe('invalid-request');
  }
  expect(server.connections()).toBe(0);

  server.handlers.set('/models/away.txt', (_, response) =>
    response.writeHead(302, { Location: `${at}/secret/model.txt` }).end(),
  );
  const redirected = await publish(program, '1.0.0', artifactOf(`${at}/models/away.txt`, 'model one'));
  expect([redirected.status, await codeOf(redirected)]).toEqual([503, 'store-unavailable']);
  const other = await publish(program, '1.0.0', artifactOf(`${at}/models/model.txt`, 'model two'));
  expect([other.status, await codeOf(other)]).toEqual([400, 'checksum-mismatch']);
  expect(server.requests.map(({ url }) => url)).toEqual(['/models/away.txt', '/models/model.txt']);

  expect((await publish(program, '1.0.0', artifactOf(`${at}/models/model.txt`, 'model one'))).status).toBe(201);
  expect(await (await fileOf(program, '1.0.0')).text()).toBe('model one');
});

it('refuses sources while no prefix is allowed', async () => {
  const program = await startProgram(await volumeFolder(), { REGISTRY_DISCOVERY: 'off' });
  const refused = await publish(program, '1.0.0', artifactOf('s3://datasets/model.txt', 'model one'));
  expect([refused.status, await codeOf(refused)]).toEqual([403, 'reference-not-allowed']);
});
