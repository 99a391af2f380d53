/** Bare node:http: GET follows, POST writes the same bytes to all followers. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const followers = new Set<ServerResponse>();
const bytes = Buffer.from(`id: 0-5f70a1b2-31-91d3c4e5f6a7b8c9\nevent: activation\ndata: ${'x'.repeat(400)}\n\n`);

const server = createServer((request, response) => {
  if (request.method === 'POST') {
    request.resume();
    for (const follower of followers) follower.write(bytes);
    response.end('{}');
    return;
  }
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' });
  response.write('retry: 2000\n\n');
  response.write(bytes);
  followers.add(response);
  response.once('close', () => followers.delete(response));
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
