/**
 * The object store client of NATS alone, run as `node bench/stores/bare-nats.ts up|down|remove <file>` with `NATS_URL`. Its
 * hash is native, as the default in JavaScript would be the whole measurement. Prints how long the transfer took in ms.
 */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { jetstream, StorageType } from '@nats-io/jetstream';
import { Objm, setSha256Backend } from '@nats-io/obj';
import { connect } from '@nats-io/transport-node';

const TIMEOUT_MS = 30_000;
const NAME = 'bare';

const [action, file] = process.argv.slice(2);
setSha256Backend('native');
const nc = await connect({ servers: process.env.NATS_URL! });
const bucket = await new Objm(jetstream(nc, { timeout: TIMEOUT_MS })).create(NAME, { storage: StorageType.File });
const started = performance.now();
if (action === 'up') await put();
else if (action === 'down') await readAll();
else await bucket.delete(NAME);
console.log(JSON.stringify({ ms: performance.now() - started }));
await nc.close();

async function put(): Promise<void> {
  const bytes = Readable.toWeb(createReadStream(file!, { highWaterMark: 256 * 1024 })) as ReadableStream<Uint8Array>;
  await bucket.put({ name: NAME }, bytes, { timeout: TIMEOUT_MS });
}

/** The client compares the hash. */
async function readAll(): Promise<void> {
  const found = await bucket.get(NAME);
  if (!found) throw new Error('it is not there');
  for await (const _ of found.data as unknown as AsyncIterable<Uint8Array>);
  const failure = await found.error;
  if (failure) throw failure;
}
