import type { KeyObject } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../files/replace.ts';
import { checkpointName, checkpointOf, signCheckpoint } from './checkpoint.ts';
import type { LogState } from './heads.ts';

export interface PublisherOptions {
  /** A folder, or an HTTP address that ends in `/` and accepts `PUT`. */
  to: string;
  key: KeyObject;
  /** Returns the state of the log; null while it is unknown. */
  logState(): LogState | null;
  now(): Date;
  log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  everyMs?: number;
}

const AN_HOUR_MS = 3600_000;
const PUT_TIMEOUT_MS = 30_000;
/** The response to `If-None-Match: *` if the file exists (RFC 9110, 13.1.2). */
const PRECONDITION_FAILED = 412;

/** Publishes a signed checkpoint now and every hour, if the log has changed since the last one. */
export function startPublisher(options: PublisherOptions): { close(): Promise<void> } {
  const { to, key, logState, now, log, everyMs = AN_HOUR_MS } = options;
  let last = '';
  let publishing = publish();
  const timer = setInterval(() => {
    publishing = publishing.then(publish);
  }, everyMs);
  return {
    async close() {
      clearInterval(timer);
      await publishing;
    },
  };

  async function publish(): Promise<void> {
    const at = logState();
    if (at === null) return;
    const checkpoint = checkpointOf(at, now());
    const name = checkpointName(checkpoint);
    if (name === last) return;
    try {
      const isNew = await put(to, name, await signCheckpoint(checkpoint, key));
      last = name;
      const message = isNew ? 'checkpoint published' : 'a checkpoint of this name exists; it was not replaced';
      log.info({ event_type: 'checkpoint', revision: at.revision, name }, message);
    } catch (err) {
      log.error({ err, event_type: 'checkpoint', revision: at.revision }, 'checkpoint not published; retrying later');
    }
  }
}

/** Returns whether the file was written. An existing file is kept: it may be the only proof of that revision. */
async function put(to: string, name: string, jws: string): Promise<boolean> {
  const content = `${jws}\n`;
  return isAddress(to) ? send(to + name, content) : write(to, name, content);
}

async function write(folder: string, name: string, content: string): Promise<boolean> {
  await mkdir(folder, { recursive: true });
  if ((await readdir(folder)).includes(name)) return false;
  await replaceFile(join(folder, name), content, 0o644);
  return true;
}

async function send(url: string, body: string): Promise<boolean> {
  const { address, headers } = requestTo(url);
  const signal = AbortSignal.timeout(PUT_TIMEOUT_MS);
  const response = await fetch(address, { method: 'PUT', body, headers, redirect: 'error', signal });
  await response.body?.cancel();
  if (!response.ok && response.status !== PRECONDITION_FAILED)
    throw new Error(`The store answered ${response.status}.`);
  return response.ok;
}

function isAddress(to: string): boolean {
  return /^https?:\/\//.test(to);
}

/** Sends the user and password of the address as Basic credentials: fetch refuses them in an address. */
function requestTo(url: string): { address: URL; headers: Record<string, string> } {
  const address = new URL(url);
  const { username, password } = address;
  const headers: Record<string, string> = { 'Content-Type': 'application/jose', 'If-None-Match': '*' };
  if (username !== '') {
    const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    headers.Authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
  }
  address.username = '';
  address.password = '';
  return { address, headers };
}

/** @throws {Error} for an address to which no file name can be appended */
export function checkDestination(to: string): void {
  if (isAddress(to) && !(URL.canParse(to) && to.endsWith('/') && !/[?#]/.test(to))) {
    throw new Error('REGISTRY_CHECKPOINTS must be a folder, or an HTTP address that ends in / and has no query.');
  }
}
