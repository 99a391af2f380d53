import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** How often a connection is checked within `stalledMs`. */
const CHECKS = 4;

interface Seen {
  sent: string;
  since: number;
}

/**
 * Closes connections that have data to send and send none of it for `stalledMs`: unread data is held in memory. A
 * caller that reads any of it in that time keeps its connection.
 */
export function closeStalled(server: Server, stalledMs: number): void {
  const connections = new Map<Socket, Seen>();
  server.on('connection', (socket) => {
    connections.set(socket, { sent: '', since: performance.now() });
    socket.once('close', () => connections.delete(socket));
  });
  const timer = setInterval(check, stalledMs / CHECKS);
  timer.unref();
  server.once('close', () => clearInterval(timer));

  function check(): void {
    const now = performance.now();
    for (const [socket, seen] of connections) {
      const sent = sentBy(socket);
      if (socket.writableLength === 0 || sent !== seen.sent) Object.assign(seen, { sent, since: now });
      else if (now - seen.since >= stalledMs) socket.destroy();
    }
  }
}

/**
 * Returns a text that changes when data is sent. The first number changes with each chunk; within a chunk, only the
 * handle knows the rest. Node's own socket time-out uses it as well (`_onTimeout` in lib/net.js).
 */
function sentBy(socket: Socket): string {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: number } | null };
  return `${socket.bytesWritten - socket.writableLength} ${handle?.writeQueueSize}`;
}
