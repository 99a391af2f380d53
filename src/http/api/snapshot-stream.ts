import type { ServerResponse } from 'node:http';
import type { Snapshot } from '../../api/snapshot.ts';
import { activeMap, environmentOf } from '../../domain/model.ts';
import { positionId, shortEpoch } from '../../log/identity.ts';
import { entryOf, type Registry } from '../../projections/registry.ts';

export type StreamEvent = 'reset' | 'snapshot' | 'activation' | 'heartbeat';

/** Everyone who follows a model by server-sent events. */
export interface EventStream {
  /** Tells a follower, whose headers are sent, where things stand, and from then on what changes. */
  join(model: string, follower: ServerResponse, reset: boolean): void;
  /** Tells the followers of a model what is active now. */
  tell(model: string): void;
  /** How many follow at the moment. */
  followers(): number;
  /** Ends every stream; followers come again. */
  endAll(): void;
  close(): void;
}

export interface EventStreamOptions {
  registry(): Registry;
  environments: readonly string[];
  /** Whether the log cannot be followed at the moment. */
  stale(): boolean;
  heartbeatMs?: number;
}

const HEARTBEAT_MS = 15_000;
/** A stream ends after five to fifteen minutes, so that followers spread over servers anew. */
const MIN_AGE_MS = 5 * 60_000;
const MAX_AGE_MS = 15 * 60_000;
/** Who reads this much too slowly is cut off: what it would be sent is out of date anyway. */
const MAX_UNSENT_BYTES = 256 * 1024;

/**
 * A model's event is encoded once and its bytes are shared by all who follow it; one timer beats for everybody. Writing
 * to the socket's own response keeps a follower at some 5 kB, a fifth of what a web stream each takes.
 */
export function createEventStream(options: EventStreamOptions): EventStream {
  const { heartbeatMs = HEARTBEAT_MS } = options;
  /** By model: its followers, and when each one's stream ends. */
  const models = new Map<string, Map<ServerResponse, number>>();
  let closed = false;
  const heartbeat = setInterval(beat, heartbeatMs);
  heartbeat.unref();

  return { join, tell: (model) => send(model, 'activation'), followers, endAll, close };

  function join(model: string, follower: ServerResponse, reset: boolean): void {
    follower.write('retry: 2000\n\n');
    if (reset) follower.write(encode('reset', model));
    follower.write(encode('snapshot', model));
    if (closed) follower.end();
    if (closed || follower.destroyed) return; // one that is gone already says so no more
    const followers = models.get(model) ?? new Map<ServerResponse, number>();
    models.set(model, followers);
    followers.set(follower, performance.now() + MIN_AGE_MS + Math.random() * (MAX_AGE_MS - MIN_AGE_MS));
    follower.on('close', () => {
      followers.delete(follower);
      if (followers.size === 0 && models.get(model) === followers) models.delete(model);
    });
  }

  function send(model: string, event: StreamEvent): void {
    const followers = models.get(model);
    if (!followers) return;
    const bytes = encode(event, model);
    for (const follower of followers.keys()) {
      if (follower.writableLength > MAX_UNSENT_BYTES) follower.destroy();
      else follower.write(bytes);
    }
  }

  function beat(): void {
    const now = performance.now();
    for (const [model, followers] of models) {
      send(model, 'heartbeat');
      for (const [follower, until] of followers) if (until < now) follower.end();
    }
  }

  function encode(event: StreamEvent, model: string): Buffer {
    const { position } = options.registry();
    return Buffer.from(
      `id: ${positionId(position)}\nevent: ${event}\ndata: ${JSON.stringify(snapshotOf(options, model))}\n\n`,
    );
  }

  function followers(): number {
    return [...models.values()].reduce((sum, { size }) => sum + size, 0);
  }

  function endAll(): void {
    for (const followers of models.values()) for (const follower of followers.keys()) follower.end();
  }

  function close(): void {
    closed = true;
    clearInterval(heartbeat);
    endAll();
  }
}

/** What is active of a model, and how far the log was read to say so. A name without events has nothing active. */
export function snapshotOf(
  { registry, environments, stale }: Pick<EventStreamOptions, 'registry' | 'environments' | 'stale'>,
  model: string,
): Snapshot {
  const { position } = registry();
  const folded = entryOf(registry(), model).model;
  const pointers = Object.entries(activeMap(folded, environments));
  const active = Object.fromEntries(
    pointers.map(([name, pointer]) => {
      const { request_id } = environmentOf(folded, name).moved ?? {};
      return [name, pointer && { ...pointer, request_id }];
    }),
  ) as Snapshot['active'];
  const { revision, generation, epoch } = position;
  return { revision, model, generation, epoch: shortEpoch(epoch), active, ...(stale() && { stale: true }) };
}
