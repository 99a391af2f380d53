import { once } from 'node:events';
import { createServer } from 'node:net';

/** Listens there for a moment. @throws {Error} as listening does, where the address is taken or not this machine's */
export async function probe(hostname: string, port: number): Promise<void> {
  const server = createServer();
  try {
    server.listen(port, hostname);
    await once(server, 'listening');
  } finally {
    server.close();
  }
}
