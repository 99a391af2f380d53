import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';

/** A way to a server that can be made bad. */
export interface TcpProxy {
  port: number;
  /** Ends every connection that there is; new ones are let through. */
  cut(): void;
  /** What there is carries no byte any more, and neither side is told: as when a router forgets a connection. */
  forget(): void;
  /** Until `heal`: new connections are refused. */
  refuse(): void;
  /** Until `heal`: nothing goes through; it arrives afterwards. */
  hold(): void;
  /** Until `heal`: every piece takes this long. */
  delay(ms: number): void;
  heal(): void;
}

/** Starts a proxy to a URL's host on a free port; it ends with the test. */
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
    from.on('error', () => {}); // its close says it, too
    from.on('end', () => later(() => to.end()));
    from.on('close', () => {
      sockets.delete(from);
      later(() => to.destroy());
    });
  }
}
