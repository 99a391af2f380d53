/**
 * The registry's store in a process of its own, run as `node bench/stores/transfer.ts up|down|remove <file> <digest>` with
 * `REGISTRY_ARTIFACTS`. Prints how long the transfer took in ms, without opening the store, and its peak memory in bytes.
 */
import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { parseStoreAddress } from '../../dist/artifacts/address.js';
import { openStore } from '../../dist/artifacts/open.js';
import { openWriter } from '../../dist/artifacts/writer.js';
import { connectNats, parseNatsUrl } from '../../dist/log/connection.js';
import { Digest } from '../../src/domain/digest.ts';
import { peakBytes } from '../started.ts';

const [action, file, given] = process.argv.slice(2);
const digest = Digest.parse(given);
const writer = openWriter();
const store = await openStore(parseStoreAddress(process.env.REGISTRY_ARTIFACTS!), { nats: null, connectTo, writer });
const { size } = await stat(file!);
const started = performance.now();
if (action === 'up') await store.put(digest, bytesOf(file!), size);
else if (action === 'down') await readAll();
else await store.delete(digest);
const ms = performance.now() - started;
console.log(JSON.stringify({ ms, peak: await peakBytes(process.pid) }));
await store.close();
await writer.close();

/** In one buffer, which `put` allows: otherwise the memory and its collection would be measured, too. */
async function* bytesOf(path: string): AsyncGenerator<Uint8Array> {
  await using opened = await open(path);
  const buffer = Buffer.allocUnsafe(256 * 1024);
  for (;;) {
    const { bytesRead } = await opened.read(buffer);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

async function readAll(): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of await store.get(digest)) hash.update(chunk);
  if (`sha256:${hash.digest('hex')}` !== digest) throw new Error('the store has other bytes');
}

async function connectTo(url: string) {
  return (await connectNats(parseNatsUrl(url), 'bench')).nc;
}
