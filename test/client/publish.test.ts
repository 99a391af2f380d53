import { expect, it } from 'vitest';
import type { RegistryClient } from '../../src/client/client.ts';
import { sendBlob } from '../../src/client/publish.ts';
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
