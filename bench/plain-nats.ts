import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findNatsServer } from '../src/log/embedded/binary.ts';

export interface PlainServer {
  url: string;
  close(): Promise<void>;
}

/**
 * Starts a nats-server without credentials on a store's folder. Unlike the embedded one, it does not sync each event to
 * disk: for measurements that only read, and for filling a log.
 */
export async function startPlainServer(folder: string): Promise<PlainServer> {
  const { path: binary } = await findNatsServer({ progress: console.error });
  const args = ['-js', '-sd', folder, '-a', '127.0.0.1', '-p', '-1', '--ports_file_dir', folder];
  const child = spawn(binary, args, { stdio: 'ignore' });
  const ports = join(folder, `nats-server_${child.pid}.ports`);
  while (!existsSync(ports)) {
    if (child.exitCode !== null) throw new Error(`nats-server ended with ${child.exitCode}`);
    await sleep(5);
  }
  const [url] = JSON.parse(await readFile(ports, 'utf8')).nats as string[];
  const close = async () => {
    child.kill();
    await once(child, 'exit');
    await rm(ports, { force: true });
  };
  return { url: url!, close };
}
