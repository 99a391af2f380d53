/**
 * An inference service with the loader, run as `node bench/service.ts` with the loader's variables: each
 * request computes for about a millisecond over the model that is current, and is answered with its version.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startLoader } from '../dist/loader/index.js';

const READ_BYTES = 1_000_000;

const loader = await startLoader({
  hydrate: (_version, files) => readFile(files.path('model.bin')),
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
