import { isLoopback } from '../access/loopback.ts';
import type { ServerConfig } from '../config.ts';
import { reasonOf, remedyOf } from '../files/system-error.ts';
import { probe } from '../http/server/probe.ts';
import { type Check, ok, warning, wrong } from './check.ts';

type Address = Pick<ServerConfig, 'HOST' | 'PORT' | 'REGISTRY_PUBLIC_URL'>;

const EVERY_ADDRESS = ['0.0.0.0', '::', '[::]'];

/** Where the command line on this machine finds a server that listens there. */
export function localUrl({ HOST, PORT }: Pick<ServerConfig, 'HOST' | 'PORT'>): string {
  const host = EVERY_ADDRESS.includes(HOST) ? '127.0.0.1' : HOST;
  return `http://${host.includes(':') ? `[${host}]` : host}:${PORT}`;
}

/** Whether a server could listen there now. */
export async function checkAddress({ HOST, PORT }: Pick<ServerConfig, 'HOST' | 'PORT'>): Promise<Check> {
  const at = `${HOST}:${PORT}`;
  if (PORT === 0)
    return wrong('address', 'Port 0 is another port at every start.', 'Choose one that loaders can be told.');
  try {
    await probe(HOST, PORT);
    return ok('address', `${at} is free`);
  } catch (error) {
    const remedy = remedyOf(error) ?? 'Stop what listens there, or choose another HOST or PORT.';
    return wrong('address', `Nothing can listen on ${at}: ${reasonOf(error)}.`, remedy);
  }
}

/** Whether the address that others are told is one to send tokens to. */
export function checkPublicUrl({ HOST, REGISTRY_PUBLIC_URL: url }: Address): Check {
  const name = 'public URL';
  if (url === undefined) {
    if (isLoopback(HOST)) return ok(name, 'none is needed on this machine');
    return warning(name, 'REGISTRY_PUBLIC_URL is not set.', 'Set it to the address that services and browsers use.');
  }
  const { protocol, hostname } = new URL(url);
  if (protocol === 'https:' || isLoopback(hostname)) return ok(name, url);
  const remedy = 'Put a proxy that speaks TLS in front, and give its https:// address.';
  return warning(name, `${url} sends tokens in the clear.`, remedy);
}
