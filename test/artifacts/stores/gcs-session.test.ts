import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { createGcsBucket } from '../../../src/artifacts/stores/gcs.ts';
import { bytesOf } from '../../support/bytes.ts';
import { inParts, sendAll } from './upload-contract.ts';

// What Google documents of resumable uploads, and its emulator never does. In units of 256 KiB.

const UNIT = 256 * 1024;
const never = new AbortController().signal;

/** What happens to a request: how many of its units are stored, and what is answered; default: all, and how many. */
type Fate = { stores: number; answer?: number };

it('sends again what was not stored, and what was stored without an answer', async () => {
  const { parts, bytes, key } = inParts(4 * UNIT, 4 * UNIT, 5);
  const { bucket, object } = await session([
    { stores: 1 },
    { stores: 0, answer: 503 },
    { stores: 2 },
    { stores: 1, answer: 503 },
    { stores: 0 },
    { stores: 4, answer: 500 },
  ]);
  const upload = await sendAll(bucket, key, parts);
  await upload.complete(never);
  expect(object().isComplete).toBe(true);
  expect(object().bytes.equals(bytes)).toBe(true);
});

it.each([
  ['stores nothing', { stores: 0, answer: 308 }],
  ['has lost the upload', { stores: 0, answer: 410 }],
])('fails when the storage %s', async (_, fate) => {
  const { parts, key } = inParts(4 * UNIT, 5);
  const { bucket, object } = await session([{ stores: 4 }, fate]);
  const upload = await sendAll(bucket, key, parts);
  await expect(upload.complete(never)).rejects.toThrow();
  expect(object().isComplete).toBe(false);
});

/** Starts a storage with one upload. */
async function session(fates: Fate[]) {
  let stored = Buffer.alloc(0);
  let isComplete = false;
  const server = createServer(async (request, response) => {
    const body = await bytesOf(request);
    if (request.method === 'POST') return response.setHeader('location', `${endpoint}/session`).end();
    const [, start = String(stored.length), total] = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(
      request.headers['content-range']!,
    )!;
    const fate = fates.shift();
    const kept = body.subarray(0, fate ? fate.stores * UNIT : undefined);
    // Bytes at an offset that is stored are ignored.
    stored = Buffer.concat([stored, kept.subarray(stored.length - Number(start))]);
    isComplete ||= stored.length === Number(total);
    if (stored.length > 0) response.setHeader('range', `bytes=0-${stored.length - 1}`);
    response.writeHead(fate?.answer ?? (isComplete ? 200 : 308)).end('{}');
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const bucket = createGcsBucket({ kind: 'gs', bucket: 'models', prefix: '', endpoint });
  return { bucket, object: () => ({ bytes: stored, isComplete }) };
}
