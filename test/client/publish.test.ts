import { expect, it } from 'vitest';
import { type RegistryClient, RegistryUnreachable } from '../../src/client/client.ts';
import { publishManifest, sendBlob } from '../../src/client/publish.ts';
import { Manifest } from '../../src/domain/manifest.ts';
import { cutWhileReading } from '../support/cut.ts';

const blob = { path: 'a.bin', digest: `sha256:${'0'.repeat(64)}`, size: 30_000 } as const;

/** A client whose request ends with its first bytes in `take`. */
function clientThat(take: (stream: ReadableStream<Uint8Array>) => void): RegistryClient {
  const call = async (_method: string, _path: string, { bytes }: { bytes: { stream: ReadableStream<Uint8Array> } }) =>
    take(bytes.stream);
  return { call } as unknown as RegistryClient;
}

async function* pieces() {
  for (let i = 0; i < 30; i++) yield Buffer.alloc(1_000);
}

it('an upload that the registry refuses in the middle ends nothing but itself', async () => {
  let sent = 0;
  await cutWhileReading(async () => {
    const { promise, resolve } = Promise.withResolvers<ReadableStream<Uint8Array>>();
    await sendBlob(clientThat(resolve), pieces(), blob, (bytes) => {
      sent += bytes;
    });
    return promise;
  });
  expect(sent).toBeGreaterThan(0);
});

it('a registry that verifies for longer than fetch waits is asked again, with the same key', async () => {
  const late = Object.assign(new Error('Headers Timeout Error'), { code: 'UND_ERR_HEADERS_TIMEOUT' });
  const failures = [
    new RegistryUnreachable('no answer', { cause: new TypeError('fetch failed', { cause: late }) }),
    null,
    new RegistryUnreachable('no answer', { cause: new TypeError('fetch failed', { cause: new Error('refused') }) }),
  ];
  const keys: unknown[] = [];
  const call = async (_method: string, _path: string, { headers }: { headers: Record<string, string> }) => {
    keys.push(headers['Idempotency-Key']);
    const failure = failures.shift();
    if (failure) throw failure;
    return { version: '1.0.0' };
  };
  const client = { call } as unknown as RegistryClient;
  const manifest = Manifest.parse({ artifacts: [{ ...blob, source: 's3://datasets/a.bin' }] });
  const publish = () => publishManifest(client, { model: 'fraud', manifest, version: '1.0.0' });
  expect(await publish()).toEqual({ version: '1.0.0' });
  expect(new Set(keys).size).toBe(1);
  await expect(publish()).rejects.toThrow('no answer');
  expect(keys).toHaveLength(3);
});
