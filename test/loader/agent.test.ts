import { mkdir, readFile, readlink, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { emptyProgram, shared, until } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { cliWith } from '../support/program.ts';
import { agentsOf, notebook, opened, shows } from './agents.ts';
import { startProxy } from './proxy.ts';
import { ownModel } from './support.ts';

const started = shared(emptyProgram);
const { published, startAgent, reported } = agentsOf(started);

describe('the agent', () => {
  it('keeps a link at the active version; a reader never finds it broken or mixed', async () => {
    const model = await published();
    const dir = await temporaryFolder();
    await startAgent(model, dir);
    await shows(dir, '1.0.0');
    let reading = true;
    const seen = new Set<string>();
    const reader = (async () => {
      while (reading) {
        expect(await readFile(join(dir, 'current/model.txt'), 'utf8')).toMatch(/^1\.\d\.0$/);
        const folder = await realpath(join(dir, 'current'));
        const files = ['model.txt', 'deep/words.txt'].map((name) => readFile(join(folder, name), 'utf8'));
        const [version, words] = await Promise.all(files);
        expect(words).toBe(version);
        seen.add(version!);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    reader.catch(() => {});
    for (const version of ['1.1.0', '1.2.0', '1.0.0', '1.2.0', '1.1.0']) {
      await model.activate(version);
      await shows(dir, version);
      await until(() => seen.has(version));
    }
    reading = false;
    await reader;
    expect(await readlink(join(dir, 'current'))).toMatch(/^\.signalbox\/versions\/[0-9a-f]{64}$/);
    await until(async () => (await reported(model))?.current?.version === '1.1.0');
    expect(await reported(model)).toMatchObject({ state: 'ready', runtime: {} });
  });

  it('starts with the last good version without the registry, and ends on SIGTERM', async () => {
    const model = await published();
    const dir = await temporaryFolder();
    const { path, lines } = await notebook();
    const onChange = ['--on-change', `echo "$SIGNALBOX_VERSION" >> ${path}`];
    const first = await startAgent(model, dir, onChange);
    await shows(dir, '1.0.0');
    await until(async () => (await reported(model))?.state === 'ready');
    expect(await first.stop()).toBe(0);
    await until(async () => (await reported(model)) === undefined);
    expect(await opened(dir)).toBe('1.0.0');
    const proxy = await startProxy(null);
    const second = await startAgent(model, dir, onChange, { REGISTRY_DSN: proxy.url });
    await until(() => second.output().includes('the last good version serves'));
    expect(await opened(dir)).toBe('1.0.0');
    proxy.target = started().url;
    await model.activate('1.1.0');
    await shows(dir, '1.1.0');
    await until(async () => (await lines()).length === 2);
    expect(await lines()).toEqual(['1.0.0', '1.1.0']);
    expect(await second.stop()).toBe(0);
  });

  it('ends on SIGTERM if the registry does not answer', async () => {
    const model = await published();
    const nowhere = { REGISTRY_DSN: 'http://127.0.0.1:9', HOT_RELOAD_ENDPOINT: 'nats://127.0.0.1:9' };
    for (const [name, address] of Object.entries(nowhere)) {
      const agent = await startAgent(model, await temporaryFolder(), [], { [name]: address });
      await until(() => agent.output().includes('Following'));
      expect(await agent.stop()).toBe(0);
    }
  });

  it('reads files from a mounted volume', async () => {
    const model = await published();
    const dir = await temporaryFolder();
    const proxy = await startProxy(started().url);
    await startAgent(model, dir, ['--volume', started().volume], { REGISTRY_DSN: proxy.url });
    await shows(dir, '1.0.0');
    expect(proxy.requests.filter(({ path }) => path.includes('/files/'))).toEqual([]);
  });

  it('does not replace a file that is not a link', async () => {
    const model = await published();
    const dir = await temporaryFolder();
    await mkdir(join(dir, 'current'));
    await writeFile(join(dir, 'current/model.txt'), 'somebody’s own');
    await startAgent(model, dir);
    await until(async () => (await reported(model))?.state === 'failed');
    expect((await reported(model))?.error).toMatchObject({
      code: 'hydrate-failed',
      message: expect.stringContaining('is not a link. Move it away'),
    });
    expect(await opened(dir)).toBe('somebody’s own');
  });

  it('names the environments if its own does not exist, and exits', async () => {
    const model = await published();
    const agent = await startAgent(model, await temporaryFolder(), ['--env', 'prod']);
    expect(await agent.ended).toBe(4);
    expect(agent.output()).toContain('There is no environment prod; there are production, staging, dev.');
    expect(agent.output()).not.toContain('Following');
  });

  it('keeps serving when its environment no longer exists, and reports it', async () => {
    const model = await published();
    const dir = await temporaryFolder();
    await mkdir(join(dir, '.signalbox/last-good'), { recursive: true, mode: 0o700 });
    await writeFile(join(dir, `.signalbox/last-good/${model.name}.old.json`), '{}');
    const agent = await startAgent(model, dir, ['--env', 'old']);
    await until(() => agent.output().includes('Following'));
    expect(agent.output()).toContain('The last good version stays in service.');
    expect(await agent.stop()).toBe(0);
  });

  it('waits for a model that does not exist yet, and reports it', async () => {
    const model = ownModel(started());
    const dir = await temporaryFolder();
    const agent = await startAgent(model, dir);
    await until(() => agent.output().includes('Following'));
    expect(agent.output()).toContain(`There is no model ${model.name}.`);
    await model.publish('1.0.0', '1.0.0');
    await model.activate('1.0.0');
    await until(async () => (await reported(model))?.state === 'ready');
  });

  it('names missing options', async () => {
    const { code, stderr } = await cliWith({}, 'agent', '--env', 'production');
    expect([code, stderr]).toEqual([2, expect.stringContaining('--dir')]);
  });
});

describe('--python', () => {
  /** This machine's Python, or a script that states a scikit-learn. */
  async function python(scikit: string | null): Promise<string> {
    const path = join(await temporaryFolder(), 'python');
    const facts = { python: '3.11.7', packages: scikit ? { 'scikit-learn': scikit } : {} };
    await writeFile(path, `#!/bin/sh\necho '${JSON.stringify(facts)}'\n`, { mode: 0o755 });
    return path;
  }
  const needing = (packages: object) => ({ '1.1.0': { requires: { packages } } });

  it('refuses a version that the interpreter cannot load; the link stays', async () => {
    const model = await published(needing({ 'no-such-package': '>=1' }));
    const dir = await temporaryFolder();
    await startAgent(model, dir, ['--python', 'python3']);
    await shows(dir, '1.0.0');
    await model.activate('1.1.0');
    await until(async () => (await reported(model))?.state === 'failed');
    expect(await reported(model)).toMatchObject({
      current: { version: '1.0.0' },
      error: { code: 'runtime-mismatch', message: 'no-such-package wanted, not installed' },
      runtime: { python: expect.stringMatching(/^3\.\d+/) },
    });
    expect(await opened(dir)).toBe('1.0.0');
    await model.activate('1.2.0');
    await shows(dir, '1.2.0');
  });

  it('runs before every change, because packages may have changed', async () => {
    const model = await published(needing({ 'scikit-learn': '~=1.5.1' }));
    const dir = await temporaryFolder();
    const interpreter = await python('1.4.2');
    await startAgent(model, dir, ['--python', interpreter]);
    await shows(dir, '1.0.0');
    await model.activate('1.1.0');
    await until(async () => (await reported(model))?.state === 'failed');
    expect((await reported(model))!.error!.message).toBe('scikit-learn ~=1.5.1 wanted, 1.4.2 found');
    await writeFile(interpreter, await readFile(await python('1.5.2')));
    await model.reactivate('1.1.0');
    await shows(dir, '1.1.0');
    await until(async () => (await reported(model))?.state === 'ready');
    expect((await reported(model))!.runtime).toEqual({ python: '3.11.7', packages: { 'scikit-learn': '1.5.2' } });
  });

  it('fails at once if the interpreter does not exist', async () => {
    const model = await published();
    const agent = await startAgent(model, await temporaryFolder(), ['--python', '/no/such/python']);
    expect(await agent.ended).toBe(1);
    expect(agent.output()).toContain('/no/such/python');
  });
});
