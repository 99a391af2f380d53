import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Ends } from '../support/folder.ts';

const root = resolve(import.meta.dirname, '../..');

export function fromRoot(path: string): string {
  return join(root, path);
}

export interface ConfiguredServer {
  /** The address for clients: host and port. */
  client: string;
  /** The base URL for monitoring. */
  monitoring: string;
}

/** Runs nats-server with an unchanged configuration file, but on free loopback ports; it writes to `folder`. */
export async function startConfigured(
  binary: string,
  config: string,
  env: Record<string, string>,
  { folder, ends }: { folder: string; ends: Ends },
): Promise<ConfiguredServer> {
  const free = ['--addr', '127.0.0.1', '--port', '-1', '--http_port', '-1', '--ports_file_dir', folder];
  const server = spawn(binary, ['--config', fromRoot(config), ...free], { env, stdio: 'ignore' });
  ends(async () => {
    if (server.exitCode !== null) return;
    server.kill();
    await once(server, 'exit');
  });
  const { nats, monitoring } = await portsFile(folder, server);
  return { client: new URL(nats[0]!).host, monitoring: monitoring[0]! };
}

/** nats-server writes this file when it listens; it contains the ports. */
async function portsFile(folder: string, server: ChildProcess): Promise<{ nats: string[]; monitoring: string[] }> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (server.exitCode !== null) throw new Error(`nats-server ended with ${server.exitCode}`);
    const name = (await readdir(folder)).find((file) => file.endsWith('.ports'));
    const written = name ? await readFile(join(folder, name), 'utf8') : '';
    if (written.endsWith('}')) return JSON.parse(written);
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error('nats-server did not write the ports that it listens on');
}
