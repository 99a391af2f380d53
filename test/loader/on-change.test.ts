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
  it('runs once for each change, with the version in its variables', async () => {
    const model = await published();
    const dir = await realpath(await temporaryFolder());
    const { path, lines } = await notebook();
    const command = `echo "$SIGNALBOX_MODEL $SIGNALBOX_VERSION $(cat "$SIGNALBOX_FOLDER/model.txt") $(cat ${dir}/current/model.txt)" >> ${path}`;
    await startAgent(model, dir, ['--on-change', command]);
    const expected: string[] = [];
    for (const version of ['1.0.0', '1.1.0', '1.0.0']) {
      if (expected.length > 0) await model.activate(version);
      expected.push(`${model.name} ${version} ${version} ${version}`);
      await until(async () => (await lines()).length === expected.length);
      expect(await lines()).toEqual(expected);
    }
    // Activating the same version again is not a change.
    await model.reactivate('1.0.0');
    await model.activate('1.1.0');
    await until(async () => (await lines()).length === expected.length + 1);
    expect((await lines()).at(-1)).toBe(`${model.name} 1.1.0 1.1.0 1.1.0`);
  });

  it('that fails restores the link, and is retried', async () => {
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

  it('that fails at the first version leaves no link', async () => {
    const model = await published();
    const dir = await temporaryFolder();
    const { path, lines } = await notebook();
    await startAgent(model, dir, ['--on-change', `echo tried >> ${path}; exit 7`]);
    await until(async () => (await lines()).length > 0);
    await until(async () => (await reported(model))?.state === 'failed');
    await until(async () => (await readlink(join(dir, 'current')).catch(() => null)) === null);
  });

  it('that is overtaken runs again for the version of the restored link', async () => {
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
    // SIGTERM in the meantime ends it.
    await model.activate('1.1.0');
    await until(async () => (await lines()).length === 4);
    expect(await agent.stop()).toBe(0);
    expect(await opened(dir)).toBe('1.0.0');
  });

  it('may be a URL', async () => {
    const model = await published();
    const dir = await realpath(await temporaryFolder());
    const posted: { version: string; folder: string }[] = [];
    let status = 204;
    const server = createServer(async (incoming, outgoing) => {
      const body = JSON.parse(Buffer.concat(await incoming.toArray()).toString());
      posted.push({ ...body, method: incoming.method, path: incoming.url });
      outgoing.writeHead(status).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close().closeAllConnections());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/reload`;
    await startAgent(model, dir, ['--on-change', url]);
    await until(async () => (await reported(model))?.state === 'ready');
    expect(posted).toEqual([
      {
        method: 'POST',
        path: '/reload',
        model: model.name,
        version: '1.0.0',
        manifest_digest: (await reported(model))!.current!.manifest_digest,
        folder: expect.stringContaining(`${dir}/.signalbox/versions/`),
      },
    ]);
    expect(await readFile(join(posted[0]!.folder, 'model.txt'), 'utf8')).toBe('1.0.0');
    status = 500;
    await model.activate('1.1.0');
    await until(async () => (await reported(model))?.error?.message.includes('answered 500') === true);
    await shows(dir, '1.0.0');
    status = 200;
    await until(async () => (await reported(model))?.current?.version === '1.1.0');
    expect([await opened(dir), posted.at(-1)!.version]).toEqual(['1.1.0', '1.1.0']);
  });
});
