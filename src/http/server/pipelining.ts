import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Fetch } from './context.ts';

/**
 * Handles a request after the previous one on the same connection is answered. Node hands over all pipelined requests
 * at once, and would keep hundreds of answers for a caller that reads none.
 */
export function oneAtATime(fetch: Fetch): Fetch {
  const newest = new WeakMap<Socket, ServerResponse>();
  return (request, env) => {
    const { socket } = env.incoming;
    const before = newest.get(socket);
    newest.set(socket, env.outgoing as ServerResponse);
    return before === undefined || before.writableFinished ? handle() : once(before, 'finish').then(handle);

    function handle(): Response | Promise<Response> {
      // After an answer with "Connection: close", no other answer is sent.
      return socket.writableEnded ? new Response(null, { status: 503 }) : fetch(request, env);
    }
  };
}
