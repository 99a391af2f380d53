import { describe, expect, it } from 'vitest';
import type { Loader } from '../../src/loader/index.ts';
import { ok, until, volumeFolder } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { SERVERS, startNats } from '../support/nats.ts';
import { type Program, startProgram } from '../support/program.ts';
import { follow, ownModel, serves, type TestModel } from './support.ts';

const NAME = 'fraud';

/** After an outage, attempts become rarer. */
const PATIENCE_MS = 50_000;

const text = (loader: Loader<TestModel>) => loader.use(({ model }) => model.text);

describe.each(SERVERS)('a loader on the log itself, $name server', { timeout: 60_000 }, ({ binary }) => {
  async function onNats() {
    const server = await startNats(binary());
    const program = await startProgram(await volumeFolder(), { NATS_URL: server.url, REGISTRY_DISCOVERY: 'off' });
    const model = ownModel(program, NAME);
    await model.publish('1.0.0', 'one');
    await model.publish('1.1.0', 'two');
    await model.activate('1.0.0');
    const cacheDir = await temporaryFolder();
    const started = () => follow(program, { model: NAME, cacheDir, endpoint: server.url });
    return { server, program, model, started };
  }

  /** The registry may be slightly behind its log. */
  async function activated(program: Program, version: string) {
    const path = `/api/models/${NAME}/versions/${version}/activate`;
    await until(async () =>
      [200, 409].includes((await program.ask('POST', path, { environment: 'production' })).status),
    );
  }

  it('follows it, reports through it, and keeps serving while NATS is unavailable', async () => {
    const { server, program, model, started } = await onNats();
    const loader = await started();
    expect((await loader.ready()).model.text).toBe('one');
    await model.activate('1.1.0');
    await serves(loader, '1.1.0', PATIENCE_MS);
    const loaders = async () => (await ok(program, 'GET', `/api/models/${NAME}/loaders`)).loaders;
    await until(async () => (await loaders())[0]?.current?.version === '1.1.0');
    await server.kill();
    expect(await text(loader)).toBe('two');
    await server.start();
    await activated(program, '1.0.0');
    await serves(loader, '1.0.0', PATIENCE_MS);
    await loader.close();
    await until(async () => (await loaders()).length === 0);
  });

  it('starts with the last good version while NATS is unavailable', async () => {
    const { server, program, started } = await onNats();
    const before = await started();
    await before.ready();
    await before.close();
    await server.kill();
    const loader = await started();
    expect((await loader.ready()).version).toBe('1.0.0');
    expect(loader.status()).toMatchObject({ state: 'ready', stale: true });
    await server.start();
    await until(() => !loader.status().stale, PATIENCE_MS);
    await activated(program, '1.1.0');
    await serves(loader, '1.1.0', PATIENCE_MS);
  });
});
