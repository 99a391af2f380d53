import { once } from 'node:events';
import { createServer } from 'node:net';

/** Listens at an address and stops at once. @throws {Error} if it is in use, or not an address of this machine */
export async function probe(hostname: string, port: number): Promise<void> {
  const server = createServer();
  try {
    server.listen(port, hostname);
    await once(server, 'listening');
  } finally {
    server.close();
  }
}
