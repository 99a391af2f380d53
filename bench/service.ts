/**
 * An inference service with the loader, run as `node bench/service.ts` with the loader's variables. Each request computes
 * for about 1 ms with the current model and returns its version.
 */
import { open } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startLoader } from '../dist/loader/index.js';

const READ_BYTES = 1_000_000;
const PIECE_BYTES = 1024 * 1024;
/** Memory is freed with its model, as in native runtimes: V8's garbage collection of 50 MB is not measured here. */
const free: Buffer[] = [];

const loader = await startLoader({
  async hydrate(_version, files) {
    const file = await open(files.path('model.bin'));
    const { size } = await file.stat();
    const memory = free.pop() ?? Buffer.allocUnsafeSlow(size);
    for (let at = 0; at < size; ) at += (await file.read(memory, at, Math.min(size - at, PIECE_BYTES))).bytesRead;
    await file.close();
    return memory;
  },
  dispose: (memory) => free.push(memory),
});
await loader.ready();

const server = createServer((_, response) => {
  loader
    .use(({ model, version }) => {
      response.end(`${version} ${predict(model)}`);
    })
    .catch((error) => response.writeHead(500).end(String(error)));
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));

function predict(model: Buffer): number {
  let sum = 0;
  for (let i = 0; i < READ_BYTES; i++) sum += model[i]!;
  return sum;
}
