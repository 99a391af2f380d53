import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** Looks at each connection this often before it counts as stalled. */
const LOOKS = 4;

interface Seen {
  sent: string;
  since: number;
}

/**
 * Closes connections on which there is something to send and nothing of it leaves for `stalledMs`: what a caller does not
 * read is held in memory. A reader that takes anything at all in that time keeps its connection.
 */
export function closeStalled(server: Server, stalledMs: number): void {
  const connections = new Map<Socket, Seen>();
  server.on('connection', (socket) => {
    connections.set(socket, { sent: '', since: performance.now() });
    socket.once('close', () => connections.delete(socket));
  });
  const timer = setInterval(look, stalledMs / LOOKS);
  timer.unref();
  server.once('close', () => clearInterval(timer));

  function look(): void {
    const now = performance.now();
    for (const [socket, seen] of connections) {
      const sent = sentBy(socket);
      if (socket.writableLength === 0 || sent !== seen.sent) Object.assign(seen, { sent, since: now });
      else if (now - seen.since >= stalledMs) socket.destroy();
    }
  }
}

/**
 * How far writing has come. The first number moves with each chunk; within one, only the handle knows what is left, as
 * Node's own time-out of sockets does (`_onTimeout` in lib/net.js).
 */
function sentBy(socket: Socket): string {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: number } | null };
  return `${socket.bytesWritten - socket.writableLength} ${handle?.writeQueueSize}`;
}
