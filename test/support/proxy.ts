import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';

/** A proxy that simulates failures of the network. */
export interface TcpProxy {
  port: number;
  /** Closes every open connection; new ones work. */
  cut(): void;
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
  let refusing = false;
  let delayMs = 0;
  let flowing = Promise.resolve();
  let flow = () => {};
  const server = createServer((client) => {
    if (refusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(Number(port), hostname);
    carry(client, upstream);
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

  function carry(from: Socket, to: Socket): void {
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
    from.on('data', (chunk) => later(() => to.write(chunk)));
    from.on('error', () => {}); // handled by 'close'
    from.on('end', () => later(() => to.end()));
    from.on('close', () => {
      sockets.delete(from);
      later(() => to.destroy());
    });
  }
}
