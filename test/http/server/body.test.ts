import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { expect, it, onTestFinished } from 'vitest';
import { type Digest, digestField } from '../../../src/domain/digest.ts';
import { bodyBytes, uploadBytes } from '../../../src/http/server/body.ts';
import type { HttpApp } from '../../../src/http/server/context.ts';

const digestOf = (bytes: string | Buffer): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const PACE = { bytes: 10, ms: 400 };

/** Sends `bytes` every 100 ms, `times` times, and returns the bytes received and the refusal. */
async function upload(bytes: number, times: number) {
  const seen = { bytes: 0, refusal: null as string | null };
  const app: HttpApp = new Hono();
  const ended = Promise.withResolvers<void>();
  app.post('/', async (c) => {
    try {
      for await (const chunk of bodyBytes(c, PACE)) seen.bytes += chunk.length;
    } catch (error) {
      seen.refusal = (error as { code: string }).code;
    }
    ended.resolve();
    return c.text('');
  });
  const server = createAdaptorServer({ fetch: app.fetch }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
  onTestFinished(() => void socket.destroy());
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes * times}\r\n\r\n`);
  for (let i = 0; i < times && !socket.destroyed; i++) {
    socket.write('x'.repeat(bytes));
    await sleep(100);
  }
  await ended.promise;
  return seen;
}

it('a body is received as long as it keeps the pace', async () => {
  expect(await upload(20, 15)).toEqual({ bytes: 300, refusal: null });
});

it('a body that stalls is refused', async () => {
  const { bytes, refusal } = await upload(1, 30);
  expect(refusal).toBe('invalid-request');
  expect(bytes).toBeLessThan(30);
});

/** Sends bytes as an upload with a Content-Digest, and returns the received bytes or the refusal, and the chunks. */
async function uploaded(sent: Buffer, announced: Digest) {
  const chunks: Uint8Array[] = [];
  const received: Buffer[] = [];
  let refusal: string | null = null;
  const app: HttpApp = new Hono();
  app.put('/', async (c) => {
    try {
      for await (const chunk of uploadBytes(c, digestOf(sent))) {
        chunks.push(chunk);
        received.push(Buffer.from(chunk));
      }
    } catch (error) {
      refusal = (error as { code: string }).code;
    }
    return c.text('');
  });
  const server = createAdaptorServer({ fetch: app.fetch }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  await fetch(url, { method: 'PUT', body: sent, headers: { 'Content-Digest': digestField(announced) } });
  return { chunks, received: Buffer.concat(received), refusal };
}

it('the memory of an upload is freed while it is received', async () => {
  const sent = randomBytes(1_000_000);
  const { chunks, received, refusal } = await uploaded(sent, digestOf(sent));
  expect({ same: received.equals(sent), refusal }).toEqual({ same: true, refusal: null });
  expect(chunks.length).toBeGreaterThan(1);
  expect(chunks.map(({ length }) => length)).toEqual(chunks.map(() => 0));
});

it('an upload is refused if its Content-Digest is not its digest', async () => {
  expect((await uploaded(randomBytes(1_000_000), digestOf('other'))).refusal).toBe('checksum-mismatch');
});
