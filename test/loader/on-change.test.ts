import { once } from 'node:events';
import { readFile, readlink, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { emptyProgram, shared, until } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { agentsOf, notebook, opened, shows } from './agents.ts';

const started = shared(emptyProgram);
const { published, startAgent, reported } = agentsOf(started);

describe('--on-change', () => {
  it('is run once a change, with what it is about', async () => {
    const model = await published();
    const dir = await realpath(await temporaryFolder());
    const { path, lines } = await notebook();
    const command = `echo "$SIGNALBOX_MODEL $SIGNALBOX_VERSION $(cat "$SIGNALBOX_FOLDER/model.txt") $(cat ${dir}/current/model.txt)" >> ${path}`;
    await startAgent(model, dir, ['--on-change', command]);
    const told: string[] = [];
    for (const version of ['1.0.0', '1.1.0', '1.0.0']) {
      if (told.length > 0) await model.activate(version);
      told.push(`${model.name} ${version} ${version} ${version}`);
      await until(async () => (await lines()).length === told.length);
      expect(await lines()).toEqual(told);
    }
    // The same version again is no change.
    await model.reactivate('1.0.0');
    await model.activate('1.1.0');
    await until(async () => (await lines()).length === told.length + 1);
    expect((await lines()).at(-1)).toBe(`${model.name} 1.1.0 1.1.0 1.1.0`);
  });

  it('that fails puts the link back, and is tried again', async () => {
    const model = await published();
    const dir = await temporaryFolder();
    const { path, lines } = await notebook();
    const allowed = join(dir, 'allowed');
    await writeFile(allowed, '');
    const command = `echo "$(cat ${dir}/current/model.txt)" >> ${path}; test -f ${allowed}`;
    await startAgent(model, dir, ['--on-change', command]);
    await shows(dir, '1.0.0');
    await until(async () => (await lines()).length === 1);
    await rm(allowed);
    await model.activate('1.1.0');
    await until(async () => (await lines()).length >= 3);
    expect((await lines()).slice(0, 3)).toEqual(['1.0.0', '1.1.0', '1.1.0']);
    await until(async () => (await reported(model))?.state === 'failed');
    expect(await reported(model)).toMatchObject({
      current: { version: '1.0.0' },
      error: { code: 'hydrate-failed', message: expect.stringContaining('ended with 1') },
    });
    await shows(dir, '1.0.0');
    await writeFile(allowed, '');
    await until(async () => (await reported(model))?.current?.version === '1.1.0');
    expect(await opened(dir)).toBe('1.1.0');
  });

  it('that fails at first leaves no link', async () => {
    const model = await published();
    const dir = await temporaryFolder();
    const { path, lines } = await notebook();
    await startAgent(model, dir, ['--on-change', `echo tried >> ${path}; exit 7`]);
    await until(async () => (await lines()).length > 0);
    await until(async () => (await reported(model))?.state === 'failed');
    await until(async () => (await readlink(join(dir, 'current')).catch(() => null)) === null);
  });

  it('that is overtaken is told of what the link is back at', async () => {
    const model = await published();
    const dir = await temporaryFolder();
    const { path, lines } = await notebook();
    const command = `echo "$SIGNALBOX_VERSION" >> ${path}; [ "$SIGNALBOX_VERSION" != 1.1.0 ] || exec sleep 600`;
    const agent = await startAgent(model, dir, ['--on-change', command]);
    await until(async () => (await reported(model))?.state === 'ready');
    await model.activate('1.1.0');
    await until(async () => (await lines()).length === 2);
    expect(await opened(dir)).toBe('1.1.0');
    await model.rollback();
    await until(async () => (await lines()).length === 3);
    expect(await lines()).toEqual(['1.0.0', '1.1.0', '1.0.0']);
    expect(await opened(dir)).toBe('1.0.0');
    // Told to end meanwhile, it ends.
    await model.activate('1.1.0');
    await until(async () => (await lines()).length === 4);
    expect(await agent.stop()).toBe(0);
    expect(await opened(dir)).toBe('1.0.0');
  });

  it('may be a URL', async () => {
    const model = await published();
    const dir = await realpath(await temporaryFolder());
    const told: { version: string; folder: string }[] = [];
    let status = 204;
    const server = createServer(async (incoming, outgoing) => {
      const body = JSON.parse(Buffer.concat(await incoming.toArray()).toString());
      told.push({ ...body, method: incoming.method, path: incoming.url });
      outgoing.writeHead(status).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close().closeAllConnections());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/reload`;
    await startAgent(model, dir, ['--on-change', url]);
    await until(async () => (await reported(model))?.state === 'ready');
    expect(told).toEqual([
      {
        method: 'POST',
        path: '/reload',
        model: model.name,
        version: '1.0.0',
        manifest_digest: (await reported(model))!.current!.manifest_digest,
        folder: expect.stringContaining(`${dir}/.signalbox/versions/`),
      },
    ]);
    expect(await readFile(join(told[0]!.folder, 'model.txt'), 'utf8')).toBe('1.0.0');
    status = 500;
    await model.activate('1.1.0');
    await until(async () => (await reported(model))?.error?.message.includes('answered 500') === true);
    await shows(dir, '1.0.0');
    status = 200;
    await until(async () => (await reported(model))?.current?.version === '1.1.0');
    expect([await opened(dir), told.at(-1)!.version]).toEqual(['1.1.0', '1.1.0']);
  });
});
