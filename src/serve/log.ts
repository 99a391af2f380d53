import { errors } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import type { ServerConfig } from '../config.ts';
import { connectNats, type Nats, parseNatsUrl } from '../log/connection.ts';
import { findNatsServer } from '../log/embedded/binary.ts';
import { startNatsServer } from '../log/embedded/server.ts';
import { ensureStream, readHead } from '../log/stream.ts';
import { reportWhileWaiting } from './nats-wait.ts';
import type { Opened } from './parts.ts';
import { otherLog } from './position.ts';

interface OpenLog {
  config: ServerConfig;
  volume: string;
  log: Logger;
  progress(line: string): void;
}

/** Opens the log on the configured nats-server, or on an embedded one that is started on the volume. */
export async function openLog({ config, volume, log, progress }: OpenLog, opened: Opened): Promise<Nats> {
  if (config.NATS_URL !== undefined) {
    const address = parseNatsUrl(config.NATS_URL);
    const waiting = reportWhileWaiting(address, progress);
    return connected(address)
      .catch((cause: unknown) => {
        if (!(cause instanceof errors.AuthorizationError)) throw cause;
        const where = address.servers.join(', ');
        throw new Error(`nats-server at ${where} refuses the user or the password in NATS_URL.`, { cause });
      })
      .finally(() => waiting.stop());
  }
  const { path: binary } = await findNatsServer({ progress });
  const embedded = await startNatsServer({ folder: `${volume}/.nats`, binary, log });
  opened(() => embedded.close());
  const nats = await connected({ servers: [embedded.url], user: embedded.user, pass: embedded.password });
  embedded.onAddress(({ url }) => nats.nc.setServers([url]));
  return nats;

  async function connected(address: Parameters<typeof connectNats>[0]): Promise<Nats> {
    progress(`Connecting to NATS at ${address.servers.join(', ')}`);
    const nats = await connectNats(address, 'signalbox');
    opened(() => nats.nc.close());
    await ensureStream(nats);
    return nats;
  }
}

/**
 * Returns the generation of the log. Another log is refused: the files would show an older state without notice, and new
 * events would hide that events were lost.
 *
 * @throws {Error} if the volume was built from another log
 */
export async function checkPosition(nats: Nats, volume: string, embedded: boolean): Promise<number> {
  const head = await readHead(nats);
  const other = await otherLog(nats, head, volume, embedded);
  if (other) throw new Error(`${other.detail} ${other.remedy}`);
  return head.generation;
}
