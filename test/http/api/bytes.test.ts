import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { sha256Hex } from '../../../src/domain/digest.ts';
import { cutWhileReading } from '../../support/cut.ts';
import { createTestApp, tokenOf } from '../support.ts';

const admin = await tokenOf('ana', 'admin');

it('a download that its caller leaves ends nothing but itself', async () => {
  const { request, services } = await createTestApp();
  const bytes = randomBytes(4 * 1024 * 1024);
  const digest = `sha256:${sha256Hex(bytes)}` as const;
  await services.artifacts.store.put(digest, Readable.from([bytes]));
  const download = () => request(`/api/blobs/${digest}`, { headers: admin });
  await cutWhileReading(async () => (await download()).body!);
  expect(Buffer.from(await (await download()).arrayBuffer()).equals(bytes)).toBe(true);
});
