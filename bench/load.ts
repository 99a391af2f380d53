import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Requests one address over `connections` keep-alive connections, one request at a time each, and returns the answers per
 * second. It uses raw sockets, because Node's HTTP client would be slower than the measured servers.
 */
export async function rateOf(url: string, headers: Record<string, string>, options = { connections: 32, ms: 2000 }) {
  const { hostname, port } = new URL(url);
  const request = getRequest(url, headers);
  const until = Date.now() + options.ms;
  const started = performance.now();
  const counts = await Promise.all(
    Array.from({ length: options.connections }, () => askUntil(Number(port), hostname, request, until)),
  );
  return counts.reduce((sum, count) => sum + count, 0) / ((performance.now() - started) / 1000);
}

/** Requests one address `perSecond` times a second over one connection until `done`. Returns the times of the answers in ms. */
export async function timesOf(url: string, headers: Record<string, string>, perSecond: number, done: () => boolean) {
  const { hostname, port } = new URL(url);
  const request = getRequest(url, headers);
  const socket = connect(Number(port), hostname).setNoDelay();
  await once(socket, 'connect');
  const times: number[] = [];
  while (!done()) {
    const next = sleep(1000 / perSecond);
    const started = performance.now();
    socket.write(request);
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    for (let left = bodyLength(chunk); left > 0; ) left -= ((await once(socket, 'data')) as [Buffer])[0].length;
    times.push(performance.now() - started);
    await next;
  }
  socket.destroy();
  return times;
}

function getRequest(url: string, headers: Record<string, string>): Buffer {
  const { host, pathname, search } = new URL(url);
  const lines = Object.entries({ Host: host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`GET ${pathname}${search} HTTP/1.1\r\n${lines.join('')}\r\n`);
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

export interface Answer {
  status: number;
  body: Buffer;
  /** From the request to the answer's last byte. */
  ms: number;
}

/**
 * Sends one request at a time and waits for its answer, whatever its status, on a keep-alive connection. It connects again
 * if the server closed the connection meanwhile.
 */
export function asker(url: string, headers: Record<string, string>) {
  const { hostname, port } = new URL(url);
  let awaited = Promise.withResolvers<Omit<Answer, 'ms'>>();
  let connection: Socket | null = null;
  return { ask, end: () => connection?.destroy() };

  async function ask(method: string, path: string, json?: unknown): Promise<Answer> {
    const socket = connection ?? (await opened());
    const body = json === undefined ? '' : JSON.stringify(json);
    const sized = body && { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
    const lines = Object.entries({ Host: `${hostname}:${port}`, ...sized, ...headers }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    awaited = Promise.withResolvers();
    const started = performance.now();
    socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
    const answer = await awaited.promise;
    return { ...answer, ms: performance.now() - started };
  }

  async function opened(): Promise<Socket> {
    const socket = connect(Number(port), hostname).setNoDelay();
    await once(socket, 'connect');
    connection = socket;
    awaited.promise.catch(() => undefined); // nothing may be asked when it closes
    socket.on(
      'data',
      answersOf((answer) => awaited.resolve(answer)),
    );
    socket.once('error', () => undefined); // 'close' follows
    socket.once('close', () => {
      connection = null;
      awaited.reject(new Error(`${url} closed the connection`));
    });
    return socket;
  }
}

/** Returns a listener to a connection's chunks that passes on each answer. It needs their Content-Length. */
function answersOf(pass: (answer: Omit<Answer, 'ms'>) => void): (chunk: Buffer) => void {
  let received: Buffer = Buffer.alloc(0);
  let end: number | null = null;
  return (chunk) => {
    received = received.length > 0 ? Buffer.concat([received, chunk]) : chunk;
    const head = received.indexOf('\r\n\r\n');
    if (head < 0) return;
    end ??= head + 4 + Number(/content-length: (\d+)/i.exec(received.toString('latin1', 0, head + 2))?.[1] ?? 0);
    if (received.length < end) return;
    pass({ status: Number(received.toString('latin1', 9, 12)), body: received.subarray(head + 4) });
    received = Buffer.alloc(0);
    end = null;
  };
}

/** A connection that posts one command at a time. @throws {Error} if one is refused */
export function poster(url: string, headers: Record<string, string>) {
  const { ask, end } = asker(url, headers);
  return { post, end };

  async function post(path: string, json: unknown): Promise<void> {
    const { status, body } = await ask('POST', path, json);
    if (status !== 200) throw new Error(`${status} ${body.toString('utf8', 0, 200)}`);
  }
}

/** Returns the missing bytes of an answer after its first chunk, which has all headers. */
function bodyLength(chunk: Buffer): number {
  const text = chunk.toString('latin1');
  if (!text.startsWith('HTTP/1.1 200')) throw new Error(text.slice(0, 200));
  const end = text.indexOf('\r\n\r\n') + 4;
  return Number(/content-length: (\d+)/i.exec(text)![1]) - (chunk.length - end);
}
