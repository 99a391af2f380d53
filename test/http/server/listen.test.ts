import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hono } from 'hono';
import { expect, it, onTestFinished } from 'vitest';
import { readJson } from '../../../src/http/server/body.ts';
import type { HttpApp } from '../../../src/http/server/context.ts';
import { listen } from '../../../src/http/server/listen.ts';
import { until } from '../../program/support.ts';

const MIB = 1024 * 1024;

/** Serves the app until the test ends, and returns a function that connects to it. */
async function serving(app: HttpApp, stalledMs?: number) {
  const server = await listen(app, { hostname: '127.0.0.1', port: 0, ...(stalledMs && { stalledMs }) });
  const sockets: Socket[] = [];
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await server.close();
  });
  return async (text: string) => {
    // Half open: our side stays open after the server has ended its own.
    const options = { port: Number(new URL(server.url).port), host: '127.0.0.1', allowHalfOpen: true };
    const socket = connect(options).on('error', () => {});
    sockets.push(socket);
    await once(socket, 'connect');
    socket.write(text);
    return socket;
  };
}

/** Returns what is received on a connection, as text. */
function received(socket: Socket) {
  const seen = { text: '' };
  socket.on('data', (chunk) => {
    seen.text += chunk;
  });
  return seen;
}

/** Counts the bytes received on a connection, and pauses for 250 ms after each MiB. */
function readSlowly(socket: Socket) {
  const seen = { bytes: 0 };
  socket.on('data', (chunk) => {
    const before = seen.bytes;
    seen.bytes += chunk.length;
    if (Math.floor(before / MIB) === Math.floor(seen.bytes / MIB)) return;
    socket.pause();
    setTimeout(() => socket.resume(), 250);
  });
  return seen;
}

const large = (size: number) => {
  const app: HttpApp = new Hono();
  const gone = Promise.withResolvers<void>();
  app.get('/', (c) => {
    c.env.outgoing.on('close', gone.resolve);
    return new Response(new Uint8Array(size));
  });
  return { app, gone: gone.promise };
};

it('disconnects a caller that does not read its answer', async () => {
  const { app, gone } = large(40 * MIB);
  const ask = await serving(app, 1_000);
  await ask('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await gone;
});

it('disconnects a caller that does not read its answer and continues to send', async () => {
  const { app, gone } = large(40 * MIB);
  const ask = await serving(app, 1_000);
  const socket = await ask('GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n');
  const dripping = setInterval(() => socket.write('x'), 100);
  onTestFinished(() => clearInterval(dripping));
  await gone;
});

it('sends the whole answer to a caller that reads slowly', async () => {
  const { app } = large(40 * MIB);
  const ask = await serving(app, 4_000);
  const seen = readSlowly(await ask('GET / HTTP/1.1\r\nHost: a\r\n\r\n'));
  await until(() => seen.bytes > 40 * MIB);
});

it.each([
  ['GET', '/'],
  ['POST', '/at-once'],
  ['POST', '/later'],
  ['POST', '/too-large'],
])('%s %s: closes the connection if the body continues after the answer', async (method, path) => {
  const app: HttpApp = new Hono();
  app.get('/', (c) => c.text('answered'));
  app.post('/at-once', (c) => c.text('answered', 401));
  app.post('/later', async (c) => c.text(await sleep(10, 'answered'), 401));
  app.post('/too-large', async (c) => c.text((await readJson(c).catch(() => 'answered')) as string, 413));
  const ask = await serving(app);
  const size = path === '/too-large' ? 2 * MIB : 1;
  const socket = await ask(`${method} ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${4 * MIB}\r\n\r\n`);
  const closed = new Promise((resolve) => socket.on('close', resolve));
  const seen = received(socket);
  socket.write('x'.repeat(size));
  const dripping = setInterval(() => socket.write('x'), 100);
  onTestFinished(() => clearInterval(dripping));
  await closed;
  expect(seen.text).toContain('Connection: close');
  expect(seen.text).toContain('answered');
});

it('keeps the connection after a small body that is not read', async () => {
  const app: HttpApp = new Hono();
  app.post('/', (c) => c.text('refused', 401));
  app.get('/', (c) => c.text('served'));
  const ask = await serving(app);
  const socket = await ask('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello');
  const seen = received(socket);
  await until(() => seen.text.includes('refused'));
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => seen.text.includes('served'));
});

it('handles pipelined requests one after the other', async () => {
  const app: HttpApp = new Hono();
  let handling = 0;
  let most = 0;
  app.get('/:n', async (c) => {
    most = Math.max(most, ++handling);
    await sleep(5);
    handling--;
    return c.text(`<${c.req.param('n')}>`);
  });
  const ask = await serving(app);
  const all = Array.from({ length: 20 }, (_, n) => `GET /${n} HTTP/1.1\r\nHost: a\r\n\r\n`);
  const seen = received(await ask(all.join('')));
  await until(() => seen.text.includes('<19>'));
  expect(seen.text.match(/<\d+>/g)).toEqual(all.map((_, n) => `<${n}>`));
  expect(most).toBe(1);
});

it('does not execute a command pipelined after a request whose answer closes the connection', async () => {
  const app: HttpApp = new Hono();
  let commands = 0;
  const closed = Promise.withResolvers<void>();
  app.get('/', (c) => {
    c.env.incoming.socket.on('close', closed.resolve);
    return c.text('answered');
  });
  app.post('/', (c) => c.text(String(++commands)));
  const ask = await serving(app);
  const socket = await ask(`GET / HTTP/1.1\r\nHost: a\r\nContent-Length: ${MIB}\r\n\r\n`);
  const seen = received(socket);
  await until(() => seen.text.includes('answered'));
  socket.write(`${'x'.repeat(MIB)}POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`);
  await closed.promise;
  expect(commands).toBe(0);
});
