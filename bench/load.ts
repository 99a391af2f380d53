import { once } from 'node:events';
import { connect } from 'node:net';

/**
 * Requests one address over `connections` keep-alive connections, one request at a time each, and returns the answers per
 * second. It uses raw sockets, because Node's HTTP client would be slower than the measured servers.
 */
export async function rateOf(url: string, headers: Record<string, string>, options = { connections: 32, ms: 2000 }) {
  const { hostname, port, pathname, search } = new URL(url);
  const lines = Object.entries({ Host: `${hostname}:${port}`, ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  const request = Buffer.from(`GET ${pathname}${search} HTTP/1.1\r\n${lines.join('')}\r\n`);
  const until = Date.now() + options.ms;
  const started = performance.now();
  const counts = await Promise.all(
    Array.from({ length: options.connections }, () => askUntil(Number(port), hostname, request, until)),
  );
  return counts.reduce((sum, count) => sum + count, 0) / ((performance.now() - started) / 1000);
}

async function askUntil(port: number, host: string, request: Buffer, until: number): Promise<number> {
  const socket = connect(port, host).setNoDelay();
  await once(socket, 'connect');
  let answers = 0;
  let left = 0;
  socket.on('data', (chunk) => {
    left = left > 0 ? left - chunk.length : bodyLength(chunk);
    if (left > 0) return;
    left = 0;
    answers++;
    if (Date.now() < until) socket.write(request);
    else socket.end();
  });
  socket.write(request);
  await once(socket, 'close');
  return answers;
}

/** A connection that sends one request at a time and waits for its answer. */
export async function poster(url: string, headers: Record<string, string>) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).setNoDelay();
  await once(socket, 'connect');
  return { post, end: () => socket.end() };

  async function post(path: string, json: unknown): Promise<void> {
    const body = JSON.stringify(json);
    const all = { Host: hostname, 'Content-Type': 'application/json', 'Content-Length': body.length, ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
    const [first] = (await once(socket, 'data')) as [Buffer];
    for (let left = bodyLength(first); left > 0; ) left -= ((await once(socket, 'data')) as [Buffer])[0].length;
  }
}

/** Returns the missing bytes of an answer after its first chunk, which has all headers. */
function bodyLength(chunk: Buffer): number {
  const text = chunk.toString('latin1');
  if (!text.startsWith('HTTP/1.1 200')) throw new Error(text.slice(0, 200));
  const end = text.indexOf('\r\n\r\n') + 4;
  return Number(/content-length: (\d+)/i.exec(text)![1]) - (chunk.length - end);
}
