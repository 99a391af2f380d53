import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { emptyProgram, problemOf, rawSocket, until } from './support.ts';

it('a caller who asks too often is told when to ask again, and others are served', async () => {
  const program = await emptyProgram(onTestFinished, { REGISTRY_RATE_LIMIT: '5' });
  const first = await program.ask('GET', '/api/models');
  expect(first.headers.get('ratelimit')).toMatch(/^"requests";r=4;t=60$/);
  for (let i = 0; i < 4; i++) expect((await program.ask('GET', '/api/models')).status).toBe(200);
  const refused = await program.ask('GET', '/api/models');
  expect(refused.headers.get('ratelimit-policy')).toBe('"requests";q=5;w=60');
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  const { retry_after } = await problemOf(refused, 429, 'too-many-requests');
  expect(retry_after).toBeGreaterThan(0);
  await problemOf(await program.ask('POST', '/api/registry/rollback', { reason: 'x' }), 429, 'too-many-requests');
  const other = { Authorization: `Bearer ${await program.token('user', 'somebody-else')}` };
  expect((await fetch(`${program.url}/api/models`, { headers: other })).status).toBe(200);
  // Who is nobody in particular has the address's.
  for (let i = 0; i < 5; i++) expect((await fetch(`${program.url}/healthz`)).status).toBe(200);
  await problemOf(await fetch(`${program.url}/healthz`), 429, 'too-many-requests');
});

it('ten thousand wrong keys in a row are slowed down, and keep no good one out', { timeout: 120_000 }, async () => {
  const program = await emptyProgram(onTestFinished);
  const counts: Record<string, number> = {};
  let sent = 0;
  const guess = async () => {
    while (sent < 10_000) {
      const key = `sbk_${String(sent++).padStart(12, '0')}_${'A'.repeat(43)}`;
      const response = await fetch(`${program.url}/api/models`, { headers: { Authorization: `Bearer ${key}` } });
      const { code } = (await response.json()) as { code: string };
      counts[code] = (counts[code] ?? 0) + 1;
      if (sent % 1_000 === 0) expect((await program.ask('GET', '/api/models')).status).toBe(200);
    }
  };
  await Promise.all(Array.from({ length: 400 }, guess));
  expect(Object.keys(counts).toSorted()).toEqual(['too-many-attempts', 'unauthenticated']);
  expect(counts['too-many-attempts']).toBeGreaterThan(8_000);
  expect(program.lines.join('\n')).not.toContain('A'.repeat(43));
});

it('headers that never end, or have no end of them, cost a connection and nothing more', {
  timeout: 60_000,
}, async () => {
  const program = await emptyProgram(onTestFinished);
  const slow = await rawSocket(program);
  const closed = once(slow.socket, 'close');
  slow.socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n');
  const dripping = setInterval(() => slow.socket.write('X-A: b\r\n'), 500);
  onTestFinished(() => clearInterval(dripping));
  const long = await rawSocket(program);
  long.socket.write(`GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: ${'b'.repeat(40_000)}\r\n\r\n`);
  await once(long.socket, 'close');
  expect(long.received()).toContain('431');
  await closed;
  expect(slow.received()).toContain('408');
  expect((await fetch(`${program.url}/healthz`)).status).toBe(200);
});

it('a body that takes its time is taken', async () => {
  const program = await emptyProgram(onTestFinished);
  const { socket, received } = await rawSocket(program);
  const body = '{"name":"slow","reach":{"allow":["read"]}}';
  socket.write(`POST /api/keys HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${await program.token()}\r\n`);
  socket.write(`Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`);
  for (const letter of body) {
    socket.write(letter);
    await sleep(20);
  }
  await until(() => received() !== '');
  socket.destroy();
  expect(received()).toContain('201');
});
