import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Problem } from '../domain/errors.ts';
import { connectNats, type Nats, type NatsAddress, parseNatsUrl } from '../log/connection.ts';
import { findNatsServer } from '../log/embedded/binary.ts';
import { lastAddress } from '../log/embedded/config.ts';
import { type EmbeddedNats, startNatsServer } from '../log/embedded/server.ts';
import { openExportFile } from './export-file.ts';
import type { LogSource } from './source.ts';
import { openStreamSource } from './stream-source.ts';

/** The place of the log: the nats-server at `NATS_URL` if it is set, else the volume. */
export interface LogPlace {
  NATS_URL?: string | undefined;
  REGISTRY_VOLUME: string;
}

export interface OpenOptions {
  place: LogPlace;
  /** Locks the volume for this process. Throws if another process holds the lock. */
  lock(volume: string): { release(): void };
  /** Whether to fail if a registry runs on the volume. */
  alone?: boolean;
  /** Reports a step that takes long. */
  progress(line: string): void;
}

/** A connection to the log. */
export interface OpenLog {
  nats: Nats;
  close(): Promise<void>;
}

const CONNECT_MS = 10_000;
const silent = { info() {}, warn() {}, error() {} };

/**
 * Opens the log for reading: an exported file if one is given, else the stream.
 *
 * @throws {Problem} log-unavailable if NATS does not answer; not-found if there is no log
 */
export async function openSource(options: OpenOptions & { file?: string | undefined }): Promise<LogSource> {
  if (options.file !== undefined) return openExportFile(options.file);
  const { place } = options;
  if (place.NATS_URL === undefined && !existsSync(join(place.REGISTRY_VOLUME, '.nats'))) {
    throw new Problem('not-found', `There is no log on ${place.REGISTRY_VOLUME}: set REGISTRY_VOLUME or NATS_URL.`);
  }
  const log = await openLog(options);
  try {
    return await openStreamSource(log.nats, log.close);
  } catch (error) {
    await log.close();
    throw error;
  }
}

/**
 * Connects to `NATS_URL`, else to the nats-server of the registry that runs on the volume. If no registry runs there,
 * locks the volume and starts that server, until `close`.
 *
 * @throws {Problem} log-unavailable if NATS does not answer within ten seconds
 * @throws {Error} if `alone` and a registry runs on the volume
 */
export async function openLog({ place, lock, progress, alone }: OpenOptions): Promise<OpenLog> {
  if (place.NATS_URL !== undefined) return connected(parseNatsUrl(place.NATS_URL));
  const volume = resolve(place.REGISTRY_VOLUME);
  const folder = join(volume, '.nats');
  let held: { release(): void };
  try {
    held = lock(volume);
  } catch (error) {
    const running = await lastAddress(folder);
    // Port 0: this user may not read the server's address. The lock's error gives the reason.
    if (alone || new URL(running.url).port === '0') throw error;
    return connected(addressOf(running));
  }
  const server = await start(folder, progress).catch((error: unknown) => {
    held.release();
    throw error;
  });
  return connected(addressOf(server), async () => {
    await server.close();
    held.release();
  });
}

async function start(folder: string, progress: OpenOptions['progress']): Promise<EmbeddedNats> {
  const { path: binary } = await findNatsServer({ progress });
  return startNatsServer({ folder, binary, log: silent });
}

function addressOf({ url, user, password }: { url: string; user: string; password: string }): NatsAddress {
  return { servers: [url], user, pass: password };
}

async function connected(address: NatsAddress, stopServer = async () => {}): Promise<OpenLog> {
  // Not AbortSignal.timeout: it would still fire later, and end the connection at its next reconnect.
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), CONNECT_MS);
  try {
    const nats = await connectNats(address, 'signalbox-cli', deadline.signal);
    return {
      nats,
      async close() {
        await nats.nc.close();
        await stopServer();
      },
    };
  } catch (error) {
    await stopServer();
    if (!deadline.signal.aborted) throw error;
    throw new Problem('log-unavailable', `NATS does not answer at ${address.servers.join(', ')}.`, {}, error);
  } finally {
    clearTimeout(timer);
  }
}
