import { setTimeout as sleep } from 'node:timers/promises';
import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { Logger } from 'pino';
import { z } from 'zod';
import { parsedOrNull } from '../domain/json.ts';
import { isNoResponders } from './append.ts';
import { type BucketEntry, watchBucket } from './bucket-watch.ts';
import type { Nats } from './connection.ts';
import { ensureBucket } from './report-streams.ts';
import { rejectOnAbort, supervise } from './supervise.ts';

/** The live servers of a log: one entry per server, in memory, since each server repeats its own. */
export const SERVERS = 'signalbox_servers';

const MAX_AGE_MS = 90_000;
const EVERY_MS = 30_000;
const DEADLINE_MS = 2_000;
const MAX_SERVERS = 1_000;
const BUCKET_MIB = 4;

const Text = z.string().max(200);

/** What a server announces. Unknown fields are ignored: a newer server may add some. */
export const ServerAnnouncement = z.object({
  /** An id of the process, which is the key in the bucket. */
  server: z.string().regex(/^[A-Za-z0-9_-]{1,100}$/),
  version: Text,
  /** The URL on which it listens. */
  address: Text,
  host: Text,
  pid: z.int().nonnegative(),
  started_at: z.iso.datetime(),
  /** By event type: the newest version that it reads. It reads all older ones, too. */
  reads: z.record(z.string(), z.int().positive()),
});
export type ServerAnnouncement = z.infer<typeof ServerAnnouncement>;

/**
 * Announces this server to the others: at once, every 30 s and after every reconnect, since a restart of NATS empties the
 * bucket. Errors are logged and never thrown. `close` withdraws the announcement and takes at most two seconds.
 */
export function announceServer(
  nats: Nats,
  announcement: ServerAnnouncement,
  { log, everyMs = EVERY_MS, maxAgeMs = MAX_AGE_MS }: { log: Logger; everyMs?: number; maxAgeMs?: number },
): { close(): Promise<void> } {
  const buckets = new Kvm(jetstream(nats.nc, { timeout: DEADLINE_MS }));
  const bucket = () => buckets.open(SERVERS); // sends nothing
  const { server } = announcement;
  let failing = false;
  const announcing = supervise(nats, round, (_, err) => err && warn(err));

  return {
    async close() {
      await announcing.close();
      const removed = bucket().then((entries) => entries.delete(server));
      await Promise.race([removed, late()]).catch((err) =>
        log.warn({ err }, 'the announcement was not withdrawn; it expires'),
      );
    },
  };

  /** Ends when the connection changes, and so begins again on another or an emptied nats-server. */
  async function round(signal: AbortSignal) {
    await Promise.race([rejectOnAbort(signal), put(signal)]);
    failing = false;
    await sleep(everyMs, undefined, { signal }).catch(() => {});
    return { diverged: false, progressed: true };
  }

  async function put(signal: AbortSignal): Promise<void> {
    const send = async () => (await bucket()).put(server, JSON.stringify(announcement));
    try {
      await send();
    } catch (error) {
      if (!isNoResponders(error)) throw error;
      await ensureBucket(nats, maxAgeMs, SERVERS, BUCKET_MIB);
      // After `close`, this put would restore the announcement.
      signal.throwIfAborted();
      await send();
    }
  }

  function warn(err: unknown): void {
    if (!failing) log.warn({ err }, 'this server cannot announce itself to the others; it keeps trying');
    failing = true;
  }
}

async function late(): Promise<never> {
  await sleep(DEADLINE_MS, undefined, { ref: false });
  throw new Error(`NATS did not answer within ${DEADLINE_MS} ms`);
}

/** The live servers of the log. */
export interface Servers {
  all(): readonly ServerAnnouncement[];
  /**
   * Returns the first live server that cannot read a type in a version; null if every known one can. Not known are
   * servers of a release without announcements and, until the watch has caught up, any server.
   */
  unableToRead(type: string, version: number): ServerAnnouncement | null;
  close(): Promise<void>;
}

export interface WatchServersOptions {
  log: Logger;
  maxAgeMs?: number;
  now?(): number;
  /** The most servers that are kept: the bucket may hold entries that no server wrote. */
  limit?: number;
}

/** Follows the announcements of all servers, this one included. */
export function watchServers(
  nats: Nats,
  { log, maxAgeMs = MAX_AGE_MS, now = Date.now, limit = MAX_SERVERS }: WatchServersOptions,
): Servers {
  /** Not cleared when a watch begins again: after a restart of NATS the servers still run and are about to repeat. */
  const live = new Map<string, { announcement: ServerAnnouncement; until: number }>();
  let crowded = false;
  const prepare = () => ensureBucket(nats, maxAgeMs, SERVERS, BUCKET_MIB);
  const watch = watchBucket(nats, SERVERS, prepare, {
    entry,
    state: (state, err) => log.debug({ state, err }, 'announcements of servers'),
  });

  return {
    all,
    unableToRead(type, version) {
      return all().find(({ reads }) => !Object.hasOwn(reads, type) || reads[type]! < version) ?? null;
    },
    close: () => watch.close(),
  };

  function all(): ServerAnnouncement[] {
    // The bucket drops expired entries without a message.
    for (const [key, { until }] of live) if (until <= now()) live.delete(key);
    return [...live.values()].map(({ announcement }) => announcement);
  }

  function entry({ key, value, at, replayed }: BucketEntry): void {
    if (value === null) live.delete(key);
    // Null if it is not an announcement: entries can also be written directly to NATS.
    const announcement = value === null ? null : parsedOrNull(ServerAnnouncement, value);
    if (announcement?.server !== key || !hasRoomFor(key)) return;
    // The clock of NATS gives the age of an entry from before the watch. If the clock here is ahead by more than the
    // maximum age, the server is not known until it repeats its announcement.
    const age = replayed ? Math.max(now() - at.getTime(), 0) : 0;
    const until = Math.max(now() - age + maxAgeMs, live.get(key)?.until ?? 0);
    live.set(key, { announcement, until });
  }

  function hasRoomFor(key: string): boolean {
    if (live.has(key)) return true;
    const room = all().length < limit;
    if (!room && !crowded) log.warn({ limit, server: key }, 'more servers announce themselves than are kept');
    crowded = !room;
    return room;
  }
}
