import { createNatsBucket } from '../../../src/artifacts/stores/nats.ts';
import { createObjectStore } from '../../../src/artifacts/stores/object-store.ts';
import { connectOnce } from '../../../src/log/connection.ts';

// Sends the first part of a blob to the NATS of its argument, and waits to be killed.

const bucket = await createNatsBucket(await connectOnce({ servers: [process.argv[2]!] }), { name: 'nats:' });

async function* unfinished() {
  yield Buffer.alloc(9 * 1024 * 1024);
  await new Promise((resolve) => setTimeout(resolve, 600_000));
}

await createObjectStore(bucket).put(`sha256:${'0'.repeat(64)}`, unfinished());
