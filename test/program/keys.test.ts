import { describe, expect, it } from 'vitest';
import { cli, startProgram } from '../support/program.ts';
import { emptyProgram, natsServersOf, ok, problemOf, publish, shared, until, volumeFolder } from './support.ts';

interface Made {
  id: string;
  key: string;
}

const started = shared(async (ends) => {
  const program = await emptyProgram(ends);
  await publish(program, '1.0.0', { 'model.txt': 'one' }, 'fraud');
  await publish(program, '1.0.0', { 'model.txt': 'two' }, 'churn');
  return program;
});

const make = (name: string, reach: object, more: object = {}): Promise<Made> =>
  ok(started(), 'POST', '/api/keys', { name, reach, ...more });

const askWith = (key: string, method: string, path: string, json?: unknown, url = started().url) =>
  fetch(url + path, {
    method,
    headers: { Authorization: `Bearer ${key}`, ...(json !== undefined && { 'Content-Type': 'application/json' }) },
    ...(json !== undefined && { body: JSON.stringify(json) }),
  });

describe('an API key', () => {
  it('allows what it was created for, and acts under its own name', async () => {
    const { key } = await make('scorer', { allow: ['read', 'activate'], models: ['fraud'], environments: ['dev'] });
    expect((await askWith(key, 'GET', '/api/models/fraud/versions')).status).toBe(200);
    await problemOf(await askWith(key, 'GET', '/api/models/churn/versions'), 403, 'forbidden');
    const activate = (environment: string) =>
      askWith(key, 'POST', '/api/models/fraud/versions/1.0.0/activate', { environment });
    await problemOf(await activate('production'), 403, 'forbidden');
    expect((await activate('dev')).status).toBe(200);
    const { events } = await ok(started(), 'GET', '/api/models/fraud/history?type=version.activated');
    expect(events[0].actor).toBe('key:scorer');
    await problemOf(
      await askWith(key, 'POST', '/api/keys', { name: 'more', reach: { allow: 'all' } }),
      403,
      'forbidden',
    );
  });

  it('is refused when it has expired, even if it was cached', async () => {
    const { key } = await make(
      'brief',
      { allow: ['read'] },
      { expires_at: new Date(Date.now() + 2_000).toISOString() },
    );
    const read = async () => (await askWith(key, 'GET', '/api/models')).status;
    expect(await read()).toBe(200);
    await until(async () => (await read()) === 401);
  });

  it('is shown once, and its secret is not stored', async () => {
    const { id, key } = await make('once', { allow: ['read'] });
    const text = JSON.stringify(await ok(started(), 'GET', '/api/keys'));
    expect(text).toContain(id);
    expect(text).not.toContain(key);
    expect(text).not.toContain('hash');
    expect(started().lines.join('\n')).not.toContain(key);
  });

  it('is refused if it is altered, expired, revoked or unknown', async () => {
    const { id, key } = await make('short', { allow: ['read'] });
    const expired = await make('expired', { allow: ['read'] }, { expires_at: '2026-01-01T00:00:00Z' });
    const altered = key.slice(0, -1) + (key.endsWith('A') ? 'B' : 'A');
    for (const wrong of [altered, expired.key, `sbk_${'0'.repeat(12)}_${'A'.repeat(43)}`, 'sbk_', `${key}x`]) {
      await problemOf(await askWith(wrong, 'GET', '/api/models'), 401, 'unauthenticated');
    }
    expect((await askWith(key, 'GET', '/api/models')).status).toBe(200);
    await ok(started(), 'DELETE', `/api/keys/${id}`);
    await problemOf(await askWith(key, 'GET', '/api/models'), 401, 'unauthenticated');
    await problemOf(await started().ask('DELETE', `/api/keys/${id}`), 404, 'unknown-key');
  });

  it('has the time of its last use, and using a revoked key does not restore it', async () => {
    const { id, key } = await make('used', { allow: ['read'] });
    await askWith(key, 'GET', '/api/models');
    const keyOf = async () =>
      (await ok(started(), 'GET', '/api/keys')).keys.find((found: { id: string }) => found.id === id);
    await until(async () => (await keyOf())?.last_used_at !== null);
    await ok(started(), 'DELETE', `/api/keys/${id}`);
    await askWith(key, 'GET', '/api/models');
    expect(await keyOf()).toBeUndefined();
  });

  it('is not created from an invalid body', async () => {
    for (const body of [
      { name: 'a b', reach: { allow: ['read'] } },
      { name: 'a', reach: { allow: [] } },
      { name: 'a', reach: { allow: ['fly'] } },
      { name: 'a', reach: { allow: ['read'], subject: 'x' } },
      { name: 'a', reach: { allow: ['read'], models: ['('] } },
      { name: 'a', reach: { allow: ['read'] }, expires_at: 'tomorrow' },
      { reach: { allow: ['read'] } },
    ]) {
      await problemOf(await started().ask('POST', '/api/keys', body), 400, 'invalid-request');
    }
  });

  it('can be created, listed and revoked by the command line', async () => {
    const run = await cli(
      started(),
      'key',
      'create',
      'ci',
      '--allow',
      'publish',
      'read',
      '--models',
      'fraud',
      '--days',
      '30',
    );
    expect(run).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sbk_[0-9a-f]{12}_\S{43}\n$/) });
    const key = run.stdout.trim();
    expect((await askWith(key, 'GET', '/api/models/fraud/versions')).status).toBe(200);
    const id = key.split('_')[1]!;
    expect((await cli(started(), 'key', 'list')).stdout).toMatch(
      new RegExp(`^${id} +ci +bearer +publish,read +fraud`, 'm'),
    );
    expect((await cli(started(), 'key', 'revoke', id)).code).toBe(0);
    expect((await cli(started(), 'key', 'revoke', id)).code).toBe(4);
  });

  it('is valid after a restart and while NATS is unavailable', async () => {
    const volume = await volumeFolder();
    const program = await startProgram(volume);
    const { key } = (await ok(program, 'POST', '/api/keys', { name: 'k', reach: { allow: ['read'] } })) as Made;
    await program.stop();
    const again = await startProgram(volume);
    expect((await askWith(key, 'GET', '/api/models', undefined, again.url)).status).toBe(200);
    for (const pid of await natsServersOf(volume)) process.kill(pid, 'SIGKILL');
    expect((await askWith(key, 'GET', '/api/models', undefined, again.url)).status).toBe(200);
  });
});
