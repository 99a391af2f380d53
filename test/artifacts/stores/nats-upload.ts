import { createNatsBucket } from '../../../src/artifacts/stores/nats.ts';
import { connectOnce } from '../../../src/log/connection.ts';
import { someBytes } from '../../support/bytes.ts';

// Sends a part of an object to the NATS of its argument, says so, and waits to be killed.

const bucket = await createNatsBucket(await connectOnce({ servers: [process.argv[2]!] }), { name: 'nats:' });
const { signal } = new AbortController();
const upload = await bucket.begin('sha256/unfinished', signal);
await upload.send(1, someBytes(3 * 1024 * 1024), Buffer.alloc(0));
console.log('sent');
setInterval(() => {}, 60_000);
