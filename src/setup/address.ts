import { isLoopback } from '../access/loopback.ts';
import type { ServerConfig } from '../config.ts';
import { reasonOf, remedyOf } from '../files/system-error.ts';
import { probe } from '../http/server/probe.ts';
import { type Check, ok, warning, wrong } from './check.ts';

type Address = Pick<ServerConfig, 'HOST' | 'PORT' | 'REGISTRY_PUBLIC_URL'>;

const EVERY_ADDRESS = ['0.0.0.0', '::', '[::]'];

/** Returns the URL at which the CLI on this machine reaches a server with this HOST and PORT. */
export function localUrl({ HOST, PORT }: Pick<ServerConfig, 'HOST' | 'PORT'>): string {
  const host = EVERY_ADDRESS.includes(HOST) ? '127.0.0.1' : HOST;
  return `http://${host.includes(':') ? `[${host}]` : host}:${PORT}`;
}

/** Checks that a server can listen on HOST and PORT now. */
export async function checkAddress({ HOST, PORT }: Pick<ServerConfig, 'HOST' | 'PORT'>): Promise<Check> {
  const at = `${HOST}:${PORT}`;
  if (PORT === 0)
    return wrong('address', 'Port 0 is a different port at every start.', 'Set a fixed PORT, which loaders can use.');
  try {
    await probe(HOST, PORT);
    return ok('address', `${at} is free`);
  } catch (error) {
    const remedy = remedyOf(error) ?? 'Stop the program that listens there, or set another HOST or PORT.';
    return wrong('address', `Cannot listen on ${at}: ${reasonOf(error)}.`, remedy);
  }
}

/** Checks that the public address is safe to send tokens to. */
export function checkPublicUrl({ HOST, REGISTRY_PUBLIC_URL: url }: Address): Check {
  const name = 'public URL';
  if (url === undefined) {
    if (isLoopback(HOST)) return ok(name, 'not needed: the registry only listens on this machine');
    return warning(name, 'REGISTRY_PUBLIC_URL is not set.', 'Set it to the address that services and browsers use.');
  }
  const { protocol, hostname } = new URL(url);
  if (protocol === 'https:' || isLoopback(hostname)) return ok(name, url);
  const remedy = 'Put a TLS proxy in front of the registry, and set REGISTRY_PUBLIC_URL to its https:// address.';
  return warning(name, `${url} transfers tokens unencrypted.`, remedy);
}
