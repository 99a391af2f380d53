import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';

/** A proxy that simulates failures of the network. */
export interface TcpProxy {
  port: number;
  /** Closes every open connection; new ones work. */
  cut(): void;
  /** Closes the next `times` connections from which so many bytes came, after these bytes reached the server. */
  cutAfter(bytes: number, times: number): void;
  /** Returns how many bytes came from clients in all. */
  received(): number;
  /** Drops all data of the open connections without closing them, as a router does that forgot them. */
  forget(): void;
  /** Refuses new connections until `heal`. */
  refuse(): void;
  /** Holds all data back until `heal`. */
  hold(): void;
  /** Delays every chunk until `heal`. */
  delay(ms: number): void;
  heal(): void;
}

/** Starts a proxy to the host of a URL on a free port, until the test ends. */
export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const forgotten = new WeakSet<Socket>();
  /** Connections of clients that were cut: what they sent still reaches the server. */
  const ended = new WeakSet<Socket>();
  let refusing = false;
  let cuts = { bytes: 0, left: 0 };
  let received = 0;
  let delayMs = 0;
  let flowing = Promise.resolve();
  let flow = () => {};
  const server = createServer((client) => {
    if (refusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(Number(port), hostname);
    carry(client, upstream, countingFrom(client, upstream));
    carry(upstream, client);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });

  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      for (const socket of sockets) if (!forgotten.has(socket)) socket.destroy();
    },
    cutAfter(bytes, times) {
      cuts = { bytes, left: times };
    },
    received: () => received,
    forget() {
      for (const socket of sockets) forgotten.add(socket);
    },
    refuse() {
      refusing = true;
    },
    hold() {
      const held = Promise.withResolvers<void>();
      flowing = held.promise;
      flow = held.resolve;
    },
    delay(ms) {
      delayMs = ms;
    },
    heal() {
      refusing = false;
      delayMs = 0;
      flow();
    },
  };

  /** Counts the bytes of a client, and cuts its connection when it is time. Returns the part of a chunk to carry. */
  function countingFrom(client: Socket, upstream: Socket): (chunk: Buffer) => Buffer {
    let carried = 0;
    return (chunk) => {
      const isCut = cuts.left > 0 && carried + chunk.length >= cuts.bytes;
      const part = isCut ? chunk.subarray(0, Math.max(0, cuts.bytes - carried)) : chunk;
      carried += part.length;
      received += part.length;
      if (isCut) {
        cuts.left--;
        ended.add(client);
        setImmediate(() => {
          upstream.end();
          client.destroy();
        });
      }
      return part;
    };
  }

  function carry(from: Socket, to: Socket, carried = (chunk: Buffer) => chunk): void {
    sockets.add(from);
    let line = Promise.resolve();
    const later = (action: () => void) => {
      line = line.then(async () => {
        if (delayMs > 0) await sleep(delayMs);
        await flowing;
        if (!forgotten.has(from)) action();
      });
    };
    from.setNoDelay();
    from.on('data', (chunk: Buffer) => {
      if (ended.has(from)) return;
      const part = carried(chunk);
      later(() => to.write(part));
    });
    from.on('error', () => {}); // handled by 'close'
    from.on('end', () => later(() => to.end()));
    from.on('close', () => {
      sockets.delete(from);
      if (!ended.has(from)) later(() => to.destroy());
    });
  }
}
