import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SERVERS, startNats } from '../support/nats.ts';
import { cliWith, ELSEWHERE, MAIN, type Run } from '../support/program.ts';
import { volumeFolder } from './support.ts';

/** Starts a plain HTTP server and returns its port. */
async function plainServer(): Promise<number> {
  const server = createServer((_, response) => response.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** Runs a command as another user, since root may write everywhere. */
function runAsStranger(volume: string, command: string): Promise<Run> {
  const stranger = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  const env = { ...process.env, PORT: '0', NATS_URL: '', REGISTRY_VOLUME: volume };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, ...command.split(' ')],
      { env, cwd: ELSEWHERE, ...stranger },
      (error, stdout, stderr) => resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

describe('system errors are reported in a sentence with a remedy', () => {
  it('a port in use, before nats-server is started', async () => {
    const volume = await volumeFolder();
    const port = await plainServer();
    const { code, stderr } = await cliWith({ REGISTRY_VOLUME: volume, PORT: String(port), NATS_URL: '' }, 'serve');
    const sentence = `Cannot listen on 127.0.0.1:${port}: the port is in use (EADDRINUSE).\nStop the program`;
    expect([code, stderr]).toEqual([1, expect.stringContaining(sentence)]);
    expect(existsSync(join(volume, '.nats'))).toBe(false);
  });

  it.each(['serve', 'replay --verify'])('a volume of another user, for %s', async (command) => {
    const volume = await volumeFolder();
    await mkdir(join(volume, '.nats'));
    await chmod(volume, 0o555);
    const { code, stderr } = await runAsStranger(volume, command);
    const sentence = `The volume ${volume} cannot be used: permission denied (EACCES). Run this command as the owner`;
    expect([code, stderr]).toEqual([1, expect.stringContaining(sentence)]);
  });

  it('a volume that is a file', async () => {
    const { stderr } = await cliWith({ REGISTRY_VOLUME: MAIN, PORT: '0' }, 'serve');
    expect(stderr).toContain(`The volume ${MAIN} cannot be used: a part of the path is not a folder (ENOTDIR).`);
  });

  it('a folder that does not exist', async () => {
    const { code, stderr } = await cliWith({}, 'publish', '/nowhere', '--version', '1.0.0');
    expect([code, stderr]).toEqual([1, 'signalbox: There is no folder /nowhere.\n']);
  });

  it('https:// for a server without TLS', async () => {
    const REGISTRY_DSN = `https://127.0.0.1:${await plainServer()}`;
    const { code, stderr } = await cliWith({ REGISTRY_DSN, REGISTRY_TOKEN: 'any' }, 'list');
    expect([code, stderr]).toEqual([5, expect.stringContaining('the server does not use TLS')]);
    expect(stderr).toContain('Use http://');
  });

  it('a user that nats-server does not know', async () => {
    const { url } = await startNats(SERVERS[0]!.binary(), 'authorization { user: ana, password: right }');
    const NATS_URL = url.replace('nats://', 'nats://ana:topsecret@');
    const { code, stderr } = await cliWith({ REGISTRY_VOLUME: await volumeFolder(), PORT: '0', NATS_URL }, 'serve');
    expect([code, stderr]).toEqual([1, expect.stringContaining(`${url} refuses the user or the password in NATS_URL`)]);
    expect(stderr).not.toContain('topsecret');
  });
});

describe('an invalid variable is reported with the rule and the value', () => {
  it.each([
    ['serve', 'PORT', 'abc', 'PORT: must be a whole number from 0 to 65535 (is "abc")'],
    ['serve', 'PORT', '70000', 'PORT: must be a whole number from 0 to 65535 (is "70000")'],
    [
      'list',
      'REGISTRY_DSN',
      'localhost:8080',
      'must start with http:// or https://, such as http://127.0.0.1:8080 (is',
    ],
  ])('%s with %s=%s', async (command, name, value, sentence) => {
    const { code, stderr } = await cliWith({ [name]: value }, command);
    expect([code, stderr]).toEqual([1, expect.stringContaining(sentence)]);
  });

  it('but never with a password', async () => {
    const { stderr } = await cliWith({ REGISTRY_DSN: 'ftp://ana:topsecret@host' }, 'list');
    expect(stderr).toContain('REGISTRY_DSN: must start with http://');
    expect(stderr).not.toContain('topsecret');
  });
});
