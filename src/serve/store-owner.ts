import type { Logger } from 'pino';
import type { RemoteStore } from '../artifacts/open.ts';
import { claim, ForeignStore, provisionalOwner } from '../artifacts/owner.ts';
import type { Nats } from '../log/connection.ts';
import { streamInfo } from '../log/stream.ts';
import type { ReadModel } from '../projections/read-model/read-model.ts';
import type { Opened } from './parts.ts';

const CHECK_EVERY_MS = 30_000;

interface Options {
  name: string;
  nats: Nats;
  readModel: Pick<ReadModel, 'position'>;
  log: Logger;
}

/**
 * Refuses to put anything into a store that belongs to another log, and reports a store that cannot be used.
 *
 * @throws {Problem} store-unavailable if it belongs to another log
 */
export async function watchOwner(store: RemoteStore, { name, nats, readModel, log }: Options, opened: Opened) {
  const provisional = provisionalOwner((await streamInfo(nats.jsm))!.created);
  /** For which epoch, which is null while the log is empty. */
  let claimed: { epoch: string | null } | null = null;
  let problem: string | null = null;

  async function check(): Promise<void> {
    const { epoch } = readModel.position;
    await claim(store, name, { epoch, provisional }, claimed !== null);
    claimed = { epoch };
  }

  async function observe(): Promise<void> {
    try {
      await check();
      if (problem !== null) log.info({ store: name }, 'the artifact store can be used again');
      problem = null;
    } catch (error) {
      const { message } = error as Error;
      if (problem !== message) log.error({ err: error, store: name }, 'the artifact store cannot be used');
      problem = message;
    }
  }

  await check().catch((error: unknown) => {
    if (error instanceof ForeignStore) throw error;
    return observe();
  });
  let observing = Promise.resolve();
  const timer = setInterval(() => {
    observing = observe();
  }, CHECK_EVERY_MS);
  opened(() => {
    clearInterval(timer);
    return observing;
  });
  return {
    problems: () => (problem === null ? [] : [problem]),
    guarding:
      (put: RemoteStore['put']): RemoteStore['put'] =>
      async (...blob) => {
        if (claimed?.epoch !== readModel.position.epoch) await check();
        return put(...blob);
      },
  };
}
