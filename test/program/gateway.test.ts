import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startGateway } from '../../src/gateway.ts';
import { createLogger } from '../../src/telemetry.ts';
import type { Ends } from '../support/folder.ts';
import { emptyProgram, ok, problemOf, publish, shared } from './support.ts';

async function gatewayTo(dsn: string, token: string, ends: Ends = onTestFinished, timeoutMs = 5_000): Promise<string> {
  const config = { REGISTRY_DSN: dsn, REGISTRY_TOKEN: token, HOST: '127.0.0.1', PORT: 0 };
  const gateway = await startGateway({ config, log: createLogger('silent'), timeoutMs });
  ends(() => gateway.close());
  return gateway.url;
}

const started = shared(async (ends) => {
  const program = await emptyProgram(ends);
  const keyFor = async (name: string, allow: string[], models = ['*']) =>
    (await ok(program, 'POST', '/api/keys', { name, reach: { allow, models } })).key as string;
  const own = await keyFor('gateway', ['gateway']);
  return {
    program,
    keyFor,
    own,
    key: await keyFor('dashboard', ['gateway']),
    url: await gatewayTo(program.url, own, ends),
  };
});

const ask = (path: string, headers: Record<string, string> = {}, url = started().url) => fetch(url + path, { headers });

describe('the gateway', () => {
  it('answers as the registry does, with the same request id', async () => {
    const { program, key } = started();
    const none = await ask('/admin/models/latest', { 'X-API-Key': key });
    await problemOf(none, 404, 'unknown-version');
    await publish(program, '1.0.0', { 'metadata.json': '{"auc":0.9}' });
    const listed = await ask('/admin/models', { 'X-API-Key': key, 'X-Request-Id': 'edge-7' });
    expect(listed.headers.get('x-request-id')).toBe('edge-7');
    expect(await listed.json()).toEqual({ versions: ['1.0.0'], latest: '1.0.0', active: null });
    expect(await (await ask('/admin/models/latest', { 'X-API-Key': key })).json()).toEqual({
      version: '1.0.0',
      metadata: { auc: 0.9 },
    });
    const refused = await ask('/admin/models/latest', { 'X-API-Key': 'sbk_', 'X-Request-Id': 'edge-8' });
    expect((await problemOf(refused, 401, 'unauthenticated')).request_id).toBe('edge-8');
  });

  it('accepts keys with the permission gateway only', async () => {
    const { program, keyFor } = started();
    const reader = await keyFor('reader', ['read']);
    await problemOf(await ask('/admin/models', { 'X-API-Key': reader }), 403, 'forbidden');
    const wrong = ['', 'x', `sbk_${'0'.repeat(12)}_${'A'.repeat(43)}`, await program.token()];
    for (const key of wrong) await problemOf(await ask('/admin/models', { 'X-API-Key': key }), 401, 'unauthenticated');
    await problemOf(await ask('/admin/models'), 401, 'unauthenticated');
    await problemOf(
      await ask('/admin/models', { Authorization: `Bearer ${await program.token()}` }),
      401,
      'unauthenticated',
    );
  });

  it('serves the models of a key and no others', async () => {
    const { program, key, keyFor } = started();
    await publish(program, '2.0.0', { 'metadata.json': '{"auc":0.8}' }, 'fraud');
    const limited = { 'X-API-Key': await keyFor('fraud-dashboard', ['gateway'], ['fraud']) };
    const listed = await ask('/admin/models?model=fraud', limited);
    expect(await listed.json()).toEqual({ versions: ['2.0.0'], latest: '2.0.0', active: null });
    expect(await (await ask('/admin/models/latest?model=fraud', limited)).json()).toMatchObject({ version: '2.0.0' });
    // A cached decision is for one model only.
    for (const path of [
      '/admin/models',
      '/admin/models/latest',
      '/admin/models?model=default',
      '/admin/models?model=churn',
    ])
      await problemOf(await ask(path, limited), 403, 'forbidden');
    await problemOf(await ask('/admin/models?model=churn', { 'X-API-Key': key }), 404, 'unknown-model');
    for (const query of ['model=Fraud', 'model=fraud&model=fraud', 'model=', 'model=fraud%2F..'])
      await problemOf(await ask(`/admin/models?${query}`, { 'X-API-Key': key }), 400, 'invalid-request');
  });

  it('names the model that its own token does not allow', async () => {
    const { program, key, keyFor } = started();
    const gateway = await gatewayTo(program.url, await keyFor('gateway-of-fraud', ['gateway'], ['fraud']));
    const refused = await ask('/admin/models', { 'X-API-Key': key }, gateway);
    expect((await problemOf(refused, 502, 'bad-gateway')).detail).toContain('own token');
  });

  it('serves nothing else of the registry', async () => {
    const { key } = started();
    const headers = { 'X-API-Key': key };
    for (const path of [
      '/models',
      '/api/models',
      '/admin',
      '/admin/models/../../api/keys',
      '/admin/models/latest/x',
      '/admin%2fmodels',
    ]) {
      await problemOf(await ask(path, headers), 404, 'not-found');
    }
    const posted = await fetch(`${started().url}/admin/models`, { method: 'POST', headers, body: 'x' });
    await problemOf(posted, 404, 'not-found');
  });

  it('forwards nothing of a request but its id', async () => {
    const seen: Record<string, unknown>[] = [];
    const { url } = await fakeRegistry((request, response) => {
      seen.push(request.headers);
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify({ permissions: ['gateway'] }));
    });
    const gateway = await gatewayTo(url, 'own');
    const { hostname, port } = new URL(gateway);
    const socket = connect(Number(port), hostname);
    onTestFinished(() => void socket.destroy());
    const smuggled = 'X-Forwarded-User: admin\r\nCookie: a=b\r\nX-Request-Id: evil\\r\\nX: y\r\nConnection: close';
    socket.write(`GET /admin/models?x=1 HTTP/1.1\r\nHost: h\r\nX-API-Key: ${started().key}\r\n${smuggled}\r\n\r\n`);
    let answer = '';
    for await (const chunk of socket) answer += chunk;
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(seen.map((headers) => headers.authorization)).toEqual([`Bearer ${started().key}`, 'Bearer own']);
    for (const headers of seen) {
      expect(headers).not.toHaveProperty('cookie');
      expect(headers).not.toHaveProperty('x-forwarded-user');
      expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  it('checks an invalid key once, not for every request', async () => {
    let asked = 0;
    const { url } = await fakeRegistry((_, response) => {
      asked++;
      response.writeHead(401, { 'Content-Type': 'application/problem+json' });
      response.end(JSON.stringify({ code: 'unauthenticated', detail: 'The API key is not valid.' }));
    });
    const gateway = await gatewayTo(url, 'own');
    const key = `sbk_${'1'.repeat(12)}_${'A'.repeat(43)}`;
    for (let i = 0; i < 20; i++)
      await problemOf(await ask('/admin/models', { 'X-API-Key': key }, gateway), 401, 'unauthenticated');
    expect(asked).toBe(1);
  });

  it('reports clearly how the registry failed', async () => {
    const { program, key } = started();
    const headers = { 'X-API-Key': key };
    const nobody = await gatewayTo('http://127.0.0.1:9', 'own');
    await problemOf(await ask('/admin/models', headers, nobody), 502, 'bad-gateway');
    const another = await fakeRegistry((_, response) => response.end('<html>hello</html>'));
    await problemOf(await ask('/admin/models', headers, await gatewayTo(another.url, 'own')), 502, 'bad-gateway');
    const silent = await fakeRegistry(() => {});
    const impatient = await gatewayTo(silent.url, 'own', onTestFinished, 50);
    await problemOf(await ask('/admin/models', headers, impatient), 504, 'gateway-timeout');
    const halfway = await fakeRegistry((_, response) => void response.write('{"permissions":'));
    const alike = await gatewayTo(halfway.url, 'own', onTestFinished, 50);
    await problemOf(await ask('/admin/models', headers, alike), 504, 'gateway-timeout');
    const stranger = await gatewayTo(program.url, 'not a token');
    await problemOf(await ask('/admin/models', headers, stranger), 502, 'bad-gateway');
  });
});

async function fakeRegistry(handle: RequestListener) {
  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
