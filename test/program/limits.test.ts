import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { temporaryFolder } from '../support/folder.ts';
import { startProgram } from '../support/program.ts';
import { emptyProgram, natsServersOf, problemOf, publish, rawSocket, until, volumeFolder } from './support.ts';

it('a caller over its limit gets the time to retry, and other callers are served', async () => {
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
  // Requests without a credential count for the address.
  for (let i = 0; i < 5; i++) expect((await fetch(`${program.url}/healthz`)).status).toBe(200);
  await problemOf(await fetch(`${program.url}/healthz`), 429, 'too-many-requests');
});

it('an actor named like an address does not use the limit of that address', async () => {
  const program = await emptyProgram(onTestFinished, { REGISTRY_RATE_LIMIT: '1' });
  const Authorization = `Bearer ${await program.token('user', 'from 127.0.0.1')}`;
  expect((await fetch(`${program.url}/api/models`, { headers: { Authorization } })).status).toBe(200);
  expect((await fetch(`${program.url}/healthz`)).status).toBe(200);
});

it('ten thousand invalid keys in a row are throttled and do not lock out a valid one', {
  timeout: 120_000,
}, async () => {
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

it('endless headers cost only their connection', {
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

it('bodies that continue after their answers do not exhaust the descriptors', { timeout: 60_000 }, async () => {
  const few = ['sh', '-c', 'ulimit -n 400; exec "$@"', 'sh'];
  const program = await startProgram(await volumeFolder(), { REGISTRY_DISCOVERY: 'off' }, onTestFinished, few);
  const [pid] = await natsServersOf(program.volume);
  const sockets = await Promise.all(
    Array.from({ length: 400 }, async () => {
      const { socket } = await rawSocket(program);
      socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n');
      return socket;
    }),
  );
  const dripping = setInterval(() => {
    for (const socket of sockets) if (socket.writable) socket.write('x');
  }, 500);
  onTestFinished(() => clearInterval(dripping));
  const served = () =>
    program.ask('GET', '/api/models').then(
      ({ ok }) => ok,
      () => false,
    );
  await until(served);
  expect(await natsServersOf(program.volume)).toEqual([pid]);
});

it('a slow body is accepted', async () => {
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

it('a flood of notes is refused clearly, stores nothing more, and never blocks a rollback', async () => {
  const program = await emptyProgram(onTestFinished, { REGISTRY_COMMAND_LIMIT: '8' });
  await publish(program, '1.0.0');
  await publish(program, '2.0.0');
  for (const version of ['1.0.0', '2.0.0']) {
    const moved = await program.ask('POST', `/api/registry/models/${version}/activate`, { environment: 'production' });
    expect(moved.status).toBe(200);
  }
  const note = (notes: string, headers = {}) =>
    program.ask('PATCH', '/api/registry/models/1.0.0/notes', { notes }, headers);
  const key = { 'Idempotency-Key': 'once' };
  expect((await note('0', key)).status).toBe(200);
  for (const notes of ['1', '2', '3']) expect((await note(notes)).status).toBe(200);
  const refused = await note('4');
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  await problemOf(refused, 429, 'too-many-commands');
  // A command that stores nothing costs nothing: unchanged notes, a retry, a dry run.
  expect((await note('3')).status).toBe(200);
  expect((await note('0', key)).status).toBe(200);
  const rollback = (fields: object) => program.ask('POST', '/api/registry/rollback', { reason: 'worse', ...fields });
  expect((await rollback({ dry_run: true })).status).toBe(200);
  expect((await rollback({})).status).toBe(200);
  const history = (await (await program.ask('GET', '/api/registry/history')).json()) as { events: { type: string }[] };
  expect(history.events.map(({ type }) => type)).toHaveLength(9);
});

it('the policy sets the limit of a model, and only production limits activations by default', async () => {
  const policy = join(await temporaryFolder(), 'policy.yaml');
  const lines = ['grants: [{ role: admin, allow: all }]', 'limits: [{ models: [small], commands_per_minute: 1 }]'];
  await writeFile(policy, lines.join('\n'));
  const program = await emptyProgram(onTestFinished, {
    REGISTRY_POLICY: policy,
    REGISTRY_ACTIVATION_LIMIT: '',
    REGISTRY_COMMAND_LIMIT: '',
  });
  await publish(program, '1.0.0', undefined, 'small');
  await publish(program, '1.0.0');
  await publish(program, '2.0.0');
  const notes = await program.ask('PATCH', '/api/models/small/versions/1.0.0/notes', { notes: 'x' });
  const { detail } = await problemOf(notes, 429, 'too-many-commands');
  expect(detail).toContain('The model small may add 1 commands');
  const activate = (environment: string, i: number) =>
    program.ask('POST', `/api/registry/models/${i % 2 === 0 ? '1.0.0' : '2.0.0'}/activate`, { environment });
  for (let i = 0; i < 6; i++) expect((await activate('staging', i)).status).toBe(200);
  for (let i = 0; i < 3; i++) expect((await activate('production', i)).status).toBe(200);
  const { detail: why } = await problemOf(await activate('production', 3), 429, 'too-many-activations');
  expect(why).toContain('force');
  expect(why).toContain('REGISTRY_ACTIVATION_LIMIT');
});
