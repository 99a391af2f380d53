import { statfs } from 'node:fs/promises';
import { connect } from '@nats-io/transport-node';
import type { NatsLog } from './process.ts';
import { backOff, delay } from './time.ts';

const SICK_PROBES = 3;
// A machine that swaps or was asleep gives late answers; a server that says nothing for this long will not recover.
const SILENT_PROBES = 12;
const FIRST_RESTART_MS = 10_000;
const LONGEST_BETWEEN_RESTARTS_MS = 5 * 60_000;
const ENOUGH_FREE_BYTES = 4 * 1024 * 1024;

/** `undefined`: no answer. */
type Health = { ok: boolean; error: string } | undefined;

export interface Patient {
  /** Where it is now and who may ask; asked for before every probe because a restart can change it. */
  address(): { url: string; user: string; password: string };
  folder: string;
  restart(): Promise<void>;
}

/**
 * Asks the server for its health until `signal` aborts, and restarts it when it is ill and there is room on the disk.
 *
 * After ENOSPC 2.15 keeps a stream's write error until it is restarted, also when space is back, and publishes time out
 * with an unknown outcome (measured: 2.15.1 and 2.15.2); 2.10 recovers by itself. HEALTHZ names the stream's write error. It
 * is asked for over the system account: the monitoring port would tell everybody on this machine, without a password.
 */
export async function superviseHealth(
  patient: Patient,
  log: NatsLog,
  everyMs: number,
  signal: AbortSignal,
): Promise<void> {
  const chart = startChart(log);
  const wait = backOff(FIRST_RESTART_MS, LONGEST_BETWEEN_RESTARTS_MS);
  let notBefore = 0;
  for (;;) {
    await delay(everyMs, signal);
    if (signal.aborted) return;
    const ill = chart.note(await probe(patient.address()));
    const now = Date.now();
    if (ill === undefined || now < notBefore || signal.aborted || !(await hasRoom(patient.folder))) continue;
    // A restart that did not help is followed by others, ever more rarely.
    if (now - notBefore > LONGEST_BETWEEN_RESTARTS_MS) wait.reset();
    notBefore = now + wait.next();
    log.warn({ error: ill }, 'nats-server stays unhealthy: restarting it');
    chart.begin();
    await patient.restart();
  }
}

/** Counts what probes in a row say; answers with what is wrong once that is certain. */
function startChart(log: NatsLog): { note(health: Health): string | undefined; begin(): void } {
  let sick = 0;
  let silent = 0;
  const begin = () => {
    sick = 0;
    silent = 0;
  };
  return {
    begin,
    note(health) {
      if (health?.ok) {
        if (sick > 0) log.info({}, 'nats-server is healthy again');
        begin();
        return undefined;
      }
      if (!health) return ++silent >= SILENT_PROBES ? 'it does not answer' : undefined;
      silent = 0;
      if (++sick === 1) log.error({ error: health.error }, 'nats-server is unhealthy');
      return sick >= SICK_PROBES ? health.error : undefined;
    },
  };
}

async function probe({ url, user, password }: ReturnType<Patient['address']>): Promise<Health> {
  try {
    const options = { servers: url, user, pass: password, reconnect: false, timeout: 3000, ignoreClusterUpdates: true };
    const connection = await connect(options);
    try {
      const reply = await connection.request('$SYS.REQ.SERVER.PING.HEALTHZ', '', { timeout: 3000 });
      const { data } = reply.json<{ data: { status: string; error?: string } }>();
      return { ok: data.status === 'ok', error: data.error ?? data.status };
    } finally {
      await connection.close();
    }
  } catch {
    return undefined;
  }
}

/** Restarting on a full disk would gain nothing and could leave the store unreadable until there is room. */
async function hasRoom(folder: string): Promise<boolean> {
  return statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize >= ENOUGH_FREE_BYTES,
    () => false,
  );
}
