import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { createClient, RegistryUnreachable } from '../../src/client/client.ts';

/** Starts a server that redirects every request to another one, which records what it gets. */
async function redirecting(status: number) {
  const got: unknown[] = [];
  const other = await serve((headers) => {
    got.push(headers);
    return { status: 200, headers: {} };
  });
  const url = await serve(() => ({ status, headers: { Location: `${other}/elsewhere?key=secret` } }));
  return { url, other, got };
}

async function serve(answer: (headers: object) => { status: number; headers: Record<string, string> }) {
  const server = createServer(({ headers }, response) => {
    const answered = answer(headers);
    response.writeHead(answered.status, answered.headers).end('{}');
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const sign = () => ({ Signature: 'sig1=:c2VjcmV0:' });

it.each([301, 302, 307, 308])('follows no redirect with %i, and says where it leads', async (status) => {
  const { url, other, got } = await redirecting(status);
  for (const client of [
    createClient({ dsn: url, token: async () => 'token' }),
    createClient({ dsn: url, token: async () => 'token', sign }),
  ]) {
    for (const request of [
      client.open('/api/models'),
      client.call('GET', '/api/models'),
      client.call('POST', '/api/models', { json: {} }),
      client.has('/api/models'),
    ]) {
      const error = await request.then(
        () => null,
        (error: unknown) => error as Error,
      );
      expect(error).toBeInstanceOf(RegistryUnreachable);
      expect(error!.message).toContain(`${other}/elsewhere.`);
      expect(error!.message).not.toContain('secret');
    }
  }
  expect(got).toEqual([]);
});

it('returns a redirect to a caller that accepts it', async () => {
  const { url, other, got } = await redirecting(307);
  const client = createClient({ dsn: url, token: async () => 'token' });
  const response = await client.open('/api/blobs/x', { acceptRedirect: true });
  expect([response.status, response.headers.get('location')]).toEqual([307, `${other}/elsewhere?key=secret`]);
  expect(got).toEqual([]);
});
