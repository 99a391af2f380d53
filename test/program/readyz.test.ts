import { once } from 'node:events';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { signToken } from '../../src/access/tokens.ts';
import { ensureStream, STREAM } from '../../src/log/stream.ts';
import { connected, startNats } from '../support/nats.ts';
import { startProgram } from '../support/program.ts';
import { ok, publish, shared, until, volumeFolder } from './support.ts';

const SECRET = 's'.repeat(32);
const COUNTS = { gaps: 0, frozen: 0, volume: 1, discovery: 1, history: 0 };

/** A registry with two problems: a folder that cannot be adopted, and a file that was replaced. */
const started = shared(async (ends) => {
  const program = await startProgram(await volumeFolder(ends), { REGISTRY_JWT_SECRET: SECRET }, ends);
  await publish(program, '1.0.0', { 'model.txt': 'one' }, 'fraud');
  const version = join(program.volume, 'models/fraud/versions/1.0.0');
  await rm(join(version, 'model.txt'));
  await writeFile(join(version, 'model.txt'), 'another');
  await mkdir(join(program.volume, 'versions/2.0.0'), { recursive: true });
  await writeFile(join(program.volume, 'versions/2.0.0/metadata.json'), '{}');
  await symlink('/etc/hostname', join(program.volume, 'versions/2.0.0/link'));
  await ok(program, 'POST', '/api/models/fraud/versions/1.0.0/activate', {});
  await until(async () => {
    const { counts } = await ok(program, 'GET', '/readyz');
    return counts.volume > 0 && counts.discovery > 0;
  });
  return program;
});

const readyz = async (headers: Record<string, string> = {}) => {
  const response = await fetch(`${started().url}/readyz`, { headers });
  expect(response.status).toBe(200);
  return response.json();
};

describe('/readyz', () => {
  it('shows only the state and the counts without a credential', async () => {
    const answer = await readyz();
    const state = { ready: true, writes: true, log: 'live' };
    expect(answer).toEqual({ ...state, volume_progress: { laid: 1, total: 1 }, counts: expect.any(Object) });
    expect(answer).toMatchObject({ counts: COUNTS });
  });

  it('lists the problems, by paths relative to the volume, to a caller that may read every model', async () => {
    const answer = (await (await started().ask('GET', '/readyz')).json()) as Record<string, string[]>;
    expect(answer).toMatchObject({ counts: COUNTS, gaps: [], frozen: [], history: [] });
    expect(answer.volume).toEqual(['models/fraud/versions/1.0.0/model.txt is not what was published']);
    expect(answer.discovery).toEqual([expect.stringContaining('versions/2.0.0')]);
    expect(JSON.stringify(answer)).not.toContain(started().volume);
  });

  it('shows only the counts to a caller that may read some models only', async () => {
    const reach = { allow: ['read'], models: ['fraud'] };
    const { key } = await ok(started(), 'POST', '/api/keys', { name: 'fraud', reach });
    expect(await readyz({ Authorization: `Bearer ${key}` })).toEqual(await readyz());
  });

  it('does not fail because of an invalid or expired credential, however often it is sent', async () => {
    const expired = await signToken(Buffer.from(SECRET), { actor: 'ana', role: 'admin' }, -60, new Date());
    const wrong: Record<string, string>[] = [
      { Authorization: 'Bearer x.y.z' },
      { Authorization: 'Basic eDp5' },
      { Authorization: `Bearer ${expired}` },
      { Cookie: '__Host-signalbox=x' },
      { 'Signature-Input': 'sig=()', Signature: 'sig=:AAAA:' },
    ];
    for (const headers of wrong) expect(await readyz(headers)).toEqual(await readyz());
    // More than the limit of invalid credentials per minute.
    for (let i = 0; i < 25; i++) expect(await readyz(wrong[0])).toEqual(await readyz());
  });

  it('is ready for reads without NATS, and for nothing on a log that was replaced', async () => {
    const nats = await startNats(process.env.NATS_SERVER_BIN!);
    const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' });
    await publish(program, '1.0.0');
    const state = async (query = '') => {
      const response = await fetch(`${program.url}/readyz${query}`);
      const { ready, writes, log } = (await response.json()) as Record<string, unknown>;
      return { status: response.status, ready, writes, log };
    };
    expect(await state('?for=writes')).toEqual({ status: 200, ready: true, writes: true, log: 'live' });
    await nats.kill();
    const cutOff = { ready: true, writes: false, log: 'cut-off' };
    await until(async () => (await state()).log === 'cut-off');
    expect(await state()).toEqual({ status: 200, ...cutOff });
    expect(await state('?for=reads')).toEqual({ status: 200, ...cutOff });
    expect(await state('?for=writes')).toEqual({ status: 503, ...cutOff });
    expect(await (await program.ask('GET', '/metrics')).text()).toMatch(/^signalbox_writable 0$/m);
    await nats.start();
    await until(async () => (await state('?for=writes')).status === 200);
    expect(await (await program.ask('GET', '/metrics')).text()).toMatch(/^signalbox_writable 1$/m);

    const other = await connected(nats);
    await other.jsm.streams.delete(STREAM);
    await ensureStream(other);
    const diverged = { ready: false, writes: false, log: 'diverged' };
    await until(async () => (await state()).log === 'diverged');
    expect(await state()).toEqual({ status: 503, ...diverged });
    expect(await state('?for=writes')).toEqual({ status: 503, ...diverged });
    expect((await program.ask('GET', '/api/models/default/versions')).headers.get('registry-stale')).toBe('true');
    expect((await fetch(`${program.url}/readyz?for=coffee`)).status).toBe(400);
  });

  it('does not wait for an identity provider that does not answer', async () => {
    let asked = 0;
    let givenUp = 0;
    const silent = createServer((request) => {
      asked++;
      request.on('close', () => givenUp++);
    }).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    onTestFinished(() => {
      silent.close();
      silent.closeAllConnections();
    });
    const { port } = silent.address() as AddressInfo;
    const program = await startProgram(await volumeFolder(), {
      REGISTRY_JWKS_URL: `http://127.0.0.1:${port}/`,
      REGISTRY_JWT_ISSUER: 'issuer',
      REGISTRY_JWT_AUDIENCE: 'signalbox',
    });
    const header = Buffer.from('{"alg":"ES256","kid":"k"}').toString('base64url');
    const response = await fetch(`${program.url}/readyz`, { headers: { Authorization: `Bearer ${header}.e30.AAAA` } });
    expect(await response.json()).toMatchObject({ ready: true, counts: { frozen: 0 } });
    expect({ asked, givenUp }).toEqual({ asked: 1, givenUp: 0 });
  });
});
