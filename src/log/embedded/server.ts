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
import { illness } from './health.ts';
import { stopOrphans } from './orphans.ts';
import { launch, type ServerProcess } from './process.ts';

export type { NatsLog } from './config.ts';

const FIRST_RESTART_MS = 100;
const LONGEST_RESTART_MS = 30_000;
const STEADY_AFTER_MS = 60_000;

export interface EmbeddedNatsOptions {
  /** `<volume>/.nats`; created when it is not there. */
  folder: string;
  /** Path of nats-server, from `findNatsServer`. */
  binary: string;
  log: NatsLog;
  /** How often the server's health is asked for, in milliseconds. */
  probeEvery?: number;
}

/**
 * Starts nats-server on loopback, on the port of its last run when that is free, with JetStream stored in the folder.
 * Ends what an earlier, killed signalbox left running there: the caller holds the volume's lock, so that nobody living owns
 * it. Throws when the server does not start, with its last words. Later ends are answered with restarts.
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
  /** Of the process that runs now; as `url`, it can be another one after a restart. */
  get pid(): number {
    return this.#process.pid;
  }
  get version(): string {
    return this.#process.version;
  }

  /** Calls `listener` whenever a restart had to move the server to another port. */
  onAddress(listener: (address: ServerAddress) => void): void {
    this.#listeners.push(listener);
  }

  async start(): Promise<void> {
    await this.#launch();
    this.#supervision = this.#keepAlive(this.#closing.signal).catch((error) => {
      if (!this.#closing.signal.aborted) throw error;
    });
  }

  /** Ends the server and waits for its end. */
  async close(): Promise<void> {
    this.#closing.abort();
    // First, because a restart that is under way may put a new process there.
    await this.#supervision;
    await this.#process.stop();
  }

  /** Rejects when `signal` aborts, and only then. */
  async #keepAlive(signal: AbortSignal): Promise<void> {
    let wait = FIRST_RESTART_MS;
    for (;;) {
      const since = Date.now();
      await this.#failure(signal);
      if (Date.now() - since > STEADY_AFTER_MS) wait = FIRST_RESTART_MS;
      do {
        await sleep(wait, undefined, { signal });
        wait = Math.min(wait * 2, LONGEST_RESTART_MS);
      } while (!(await this.#relaunched()));
    }
  }

  /** Waits until the server has ended, by itself or because it was beyond help. */
  async #failure(closing: AbortSignal): Promise<void> {
    const { folder, log, probeEvery: everyMs = 5_000 } = this.#options;
    const over = new AbortController();
    const signal = AbortSignal.any([closing, over.signal]);
    const ill = illness(this.#health(this.url), { folder, log, everyMs, signal });
    const failure = await Promise.race([ill, this.#process.ended]).finally(() => over.abort());
    if (typeof failure === 'string') {
      log.warn({ error: failure }, 'nats-server stays unhealthy: restarting it');
      await this.#process.stop();
    } else {
      log.error(failure, 'nats-server ended unexpectedly; restarting it');
    }
  }

  async #relaunched(): Promise<boolean> {
    try {
      await this.#launch();
      return true;
    } catch (err) {
      if (!this.#closing.signal.aborted) {
        this.#options.log.error({ err }, 'nats-server could not be restarted; trying again');
      }
      return false;
    }
  }

  /** One server, on the port of the last one when that is free. */
  async #launch(): Promise<void> {
    const { folder, log } = this.#options;
    const orphans = await stopOrphans(configPath(folder));
    if (orphans.length > 0) log.warn({ pids: orphans }, 'ended the nats-server that a killed signalbox left running');
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

/** The wanted port, or any other when somebody has it. It is let go of at once. */
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
