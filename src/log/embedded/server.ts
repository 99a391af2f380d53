import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  configPath,
  HOST,
  lastAddress,
  type NatsLog,
  newPassword,
  preparePrivateFolder,
  type ServerAddress,
  writeAddress,
  writeConfig,
} from './config.ts';
import { untilUnhealthy } from './health.ts';
import { stopOrphans } from './orphans.ts';
import { launch, type ServerProcess } from './process.ts';

export type { NatsLog } from './config.ts';

const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 30_000;
const RESET_BACKOFF_AFTER_MS = 60_000;

export interface EmbeddedNatsOptions {
  /** `<volume>/.nats`; created if it is missing. */
  folder: string;
  /** Path of nats-server, from `findNatsServer`. */
  binary: string;
  log: NatsLog;
  /** Interval of health probes in ms; default: 5 s. */
  probeEvery?: number;
}

/**
 * Starts nats-server on loopback, with JetStream stored in the folder. Reuses the port of its last run if that is free.
 * First terminates a server that a killed signalbox left running there. The caller must hold the volume's lock, so that no
 * other signalbox owns that server. Restarts the server whenever it exits or stays unhealthy.
 *
 * @throws {Error} with the end of the server's log, if it does not start
 *
 * @example
 * const nats = await startNatsServer({ folder: 'registry/.nats', binary, log });
 * const nc = await connect({ servers: nats.url, user: nats.user, pass: nats.password, maxReconnectAttempts: -1 });
 * nats.onAddress(({ url }) => nc.setServers([url]));
 */
export async function startNatsServer(options: EmbeddedNatsOptions): Promise<EmbeddedNats> {
  const folder = await preparePrivateFolder(options.folder);
  const embedded = new EmbeddedNats({ ...options, folder }, await lastAddress(folder));
  await embedded.start();
  return embedded;
}

/** The embedded nats-server: one child process, kept alive until `close`. */
export class EmbeddedNats {
  readonly #options: EmbeddedNatsOptions;
  readonly #healthPassword = newPassword();
  readonly #closing = new AbortController();
  readonly #listeners: ((address: ServerAddress) => void)[] = [];
  #address: ServerAddress;
  #process!: ServerProcess;
  #supervision!: Promise<void>;

  constructor(options: EmbeddedNatsOptions, address: ServerAddress) {
    this.#options = options;
    this.#address = address;
  }

  get url(): string {
    return this.#address.url;
  }
  get user(): string {
    return this.#address.user;
  }
  get password(): string {
    return this.#address.password;
  }
  /** Process id; a restart changes it. */
  get pid(): number {
    return this.#process.pid;
  }
  get version(): string {
    return this.#process.version;
  }

  /** Calls `listener` when a restart moves the server to another port. */
  onAddress(listener: (address: ServerAddress) => void): void {
    this.#listeners.push(listener);
  }

  async start(): Promise<void> {
    await this.#launch();
    this.#supervision = this.#keepAlive(this.#closing.signal).catch((error) => {
      if (!this.#closing.signal.aborted) throw error;
    });
  }

  /** Stops the server and waits until it has exited. */
  async close(): Promise<void> {
    this.#closing.abort();
    // First, because a restart in progress may replace the process.
    await this.#supervision;
    await this.#process.stop();
  }

  /** Restarts the server after every failure. Rejects only if `signal` aborts. */
  async #keepAlive(signal: AbortSignal): Promise<void> {
    let backoff = MIN_BACKOFF_MS;
    for (;;) {
      const since = Date.now();
      await this.#untilFailed(signal);
      if (Date.now() - since > RESET_BACKOFF_AFTER_MS) backoff = MIN_BACKOFF_MS;
      do {
        await sleep(backoff, undefined, { signal });
        backoff = Math.min(backoff * 2, MAX_BACKOFF_MS);
      } while (!(await this.#relaunched()));
    }
  }

  /** Waits until the server exits; stops it if it stays unhealthy. */
  async #untilFailed(closing: AbortSignal): Promise<void> {
    const { folder, log, probeEvery: everyMs = 5_000 } = this.#options;
    const done = new AbortController();
    const signal = AbortSignal.any([closing, done.signal]);
    const unhealthy = untilUnhealthy(this.#health(this.url), { folder, log, everyMs, signal });
    const failure = await Promise.race([unhealthy, this.#process.exited]).finally(() => done.abort());
    if (typeof failure === 'string') {
      log.warn({ error: failure }, 'nats-server stays unhealthy; restarting it');
      await this.#process.stop();
    } else {
      log.error(failure, 'nats-server exited unexpectedly; restarting it');
    }
  }

  async #relaunched(): Promise<boolean> {
    try {
      await this.#launch();
      return true;
    } catch (err) {
      if (!this.#closing.signal.aborted) {
        this.#options.log.error({ err }, 'nats-server could not be restarted; retrying');
      }
      return false;
    }
  }

  /** Starts one process, on the port of the last one if that is free. */
  async #launch(): Promise<void> {
    const { folder, log } = this.#options;
    const orphans = await stopOrphans(configPath(folder));
    if (orphans.length > 0) log.warn({ pids: orphans }, 'stopped a nats-server that a killed signalbox left running');
    const url = `nats://${HOST}:${await freePort(Number(new URL(this.url).port))}`;
    const address = { ...this.#address, url };
    await writeConfig(folder, address, this.#health(url));
    await writeAddress(folder, address);
    this.#process = await launch(this.#options, this.#health(url), this.#closing.signal);
    log.info({ url, pid: this.pid, version: this.version }, 'nats-server is ready');
    const moved = url !== this.url;
    this.#address = address;
    if (moved) for (const listener of this.#listeners) listener({ ...address });
  }

  #health(url: string): ServerAddress {
    return { url, user: 'health', password: this.#healthPassword };
  }
}

/** Returns the wanted port if it is free, or another free one. */
async function freePort(wanted: number): Promise<number> {
  const server = createServer();
  try {
    server.listen(wanted, HOST);
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  } catch (error) {
    if (wanted === 0) throw error;
    return freePort(0);
  } finally {
    server.close();
  }
}
