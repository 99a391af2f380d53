import { once } from 'node:events';
import { createServer } from 'node:net';
import {
  configPath,
  HEALTH_USER,
  HOST,
  lastAddress,
  type NatsAddress,
  newPassword,
  preparePrivateFolder,
  writeAddress,
  writeConfig,
} from './config.ts';
import { superviseHealth } from './health.ts';
import { stopOrphans } from './orphans.ts';
import { type Ending, launch, type NatsLog, type ServerProcess } from './process.ts';
import { backOff, delay } from './time.ts';

export type { NatsAddress } from './config.ts';
export type { NatsLog } from './process.ts';

const FIRST_RESTART_MS = 100;
const LONGEST_RESTART_MS = 30_000;
const STEADY_AFTER_MS = 60_000;
const START_ATTEMPTS = 3;
const PROBE_EVERY_MS = 5_000;

/** The embedded nats-server: one child process, kept alive until `close`. */
export interface EmbeddedNats extends Readonly<NatsAddress> {
  /** Of the process that runs now; as `url`, it can be another one after a restart. */
  readonly pid: number;
  readonly version: string;
  /** Calls `listener` whenever a restart had to move the server to another port. Answers with how to stop that. */
  onAddress(listener: (address: NatsAddress) => void): () => void;
  /** Ends the server and waits for its end. */
  close(): Promise<void>;
}

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
  const embedded = new Embedded({ ...options, folder }, await lastAddress(folder));
  await embedded.start();
  return embedded;
}

class Embedded implements EmbeddedNats {
  readonly #options: EmbeddedNatsOptions;
  readonly #healthPassword = newPassword();
  readonly #closing = new AbortController();
  readonly #listeners = new Set<(address: NatsAddress) => void>();
  #address: NatsAddress;
  #process!: ServerProcess;
  #supervision: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(options: EmbeddedNatsOptions, address: NatsAddress) {
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
  get pid(): number {
    return this.#process.pid;
  }
  get version(): string {
    return this.#process.version;
  }

  onAddress(listener: (address: NatsAddress) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async start(): Promise<void> {
    await this.#launch(START_ATTEMPTS);
    const { log, folder, probeEvery = PROBE_EVERY_MS } = this.#options;
    const patient = {
      address: () => ({ url: this.url, user: HEALTH_USER, password: this.#healthPassword }),
      folder,
      restart: () => this.#process.stop(),
    };
    const { signal } = this.#closing;
    this.#supervision = Promise.all([this.#keepAlive(signal), superviseHealth(patient, log, probeEvery, signal)]);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    await this.#process.stop();
    await this.#supervision;
    // A restart that was under way when closing began may have put a new process there.
    await this.#process.stop();
  }

  async #keepAlive(signal: AbortSignal): Promise<void> {
    const wait = backOff(FIRST_RESTART_MS, LONGEST_RESTART_MS);
    while (!signal.aborted) {
      const since = Date.now();
      const ending = await this.#process.ended;
      if (signal.aborted) return;
      if (!ending.asked) this.#tellEnding(ending);
      if (Date.now() - since > STEADY_AFTER_MS) wait.reset();
      await this.#relaunch(wait, signal);
    }
  }

  async #relaunch(wait: { next(): number }, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await delay(wait.next(), signal);
      if (signal.aborted) return;
      try {
        return await this.#launch(1);
      } catch (error) {
        if (!signal.aborted)
          this.#options.log.error({ err: error }, 'nats-server could not be restarted; trying again');
      }
    }
  }

  /** One server, on the port of the last one when that is free. */
  async #launch(attempts: number): Promise<void> {
    const { folder, binary, log } = this.#options;
    const orphans = await stopOrphans(configPath(folder));
    if (orphans.length > 0) log.warn({ pids: orphans }, 'ended the nats-server that a killed signalbox left running');
    const port = await freePort(Number(new URL(this.url).port));
    await writeConfig(folder, port, this.password, this.#healthPassword);
    try {
      this.#process = await launch({ binary, folder, port, log, signal: this.#closing.signal });
    } catch (error) {
      // Somebody can take the port between our look and the server's start.
      if (attempts > 1 && !(await isFree(port))) return this.#launch(attempts - 1);
      throw error;
    }
    await this.#arrive(port).catch(async (error) => {
      await this.#process.stop();
      throw error;
    });
  }

  async #arrive(port: number): Promise<void> {
    const { folder, log } = this.#options;
    const url = `nats://${HOST}:${port}`;
    const moved = url !== this.url;
    this.#address = { ...this.#address, url };
    await writeAddress(folder, this.#address);
    log.info({ url, pid: this.pid, version: this.version }, 'nats-server is ready');
    if (moved) for (const listener of this.#listeners) listener({ ...this.#address });
  }

  #tellEnding({ code, signal, said }: Ending): void {
    this.#options.log.error({ code, signal, said }, 'nats-server ended unexpectedly; restarting it');
  }
}

async function freePort(wanted: number): Promise<number> {
  if (wanted !== 0 && (await isFree(wanted))) return wanted;
  return (await portOf(0))!;
}

async function isFree(port: number): Promise<boolean> {
  return (await portOf(port)) !== undefined;
}

/** The port that could be listened on (any for 0), or undefined. It is let go of at once. */
async function portOf(port: number): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen(port, HOST);
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address ? address.port : undefined;
  } catch {
    return undefined;
  } finally {
    server.close();
  }
}
