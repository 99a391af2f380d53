import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureSecret } from '../src/access/secret.ts';
import { signToken } from '../src/access/tokens.ts';
import { freePort } from './processes.ts';

const ACTIVE = '/api/models/model-0/versions/active?environment=production';
const START_TIMEOUT_MS = 10 * 60_000;
const POLL_MS = 10;

/** A registry that was started on a filled volume. Durations are in ms from the start of its process. */
export interface Started {
  url: string;
  headers: Record<string, string>;
  /** Until the first `GET active` was answered. */
  answered: number;
  /** Until the volume had all its files. */
  complete: number;
  /** Peak resident memory of its process until then, without nats-server, in bytes. */
  peak: number;
  stop(): Promise<void>;
}

/**
 * Starts the published server on a volume with the model `model-0`, and waits until the volume is complete. It writes no
 * activation history: a server that has run before has written it.
 */
export async function startOn(volume: string, env: NodeJS.ProcessEnv = {}): Promise<Started> {
  const token = await signToken(await ensureSecret(volume), { actor: 'bench', role: 'admin' }, 3600, new Date());
  const headers = { Authorization: `Bearer ${token}` };
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const settings = { PORT: `${port}`, REGISTRY_VOLUME: volume, REGISTRY_HISTORY_FILE: 'off', REGISTRY_RATE_LIMIT: '0' };
  const started = performance.now();
  const main = join(import.meta.dirname, '../dist/cli/main.js');
  const child = spawn(process.execPath, [main, 'serve'], {
    env: { ...process.env, ...settings, ...env },
    stdio: 'ignore',
  });
  const ended = () => child.exitCode ?? child.signalCode;
  const kill = () => child.kill('SIGTERM');
  process.once('exit', kill); // after a failure, the server and its nats-server must not stay
  const stop = async () => {
    process.off('exit', kill);
    kill();
    if (ended() === null) await once(child, 'exit');
  };
  try {
    const answered = await timeUntil(() => answers(url + ACTIVE, headers));
    const complete = await timeUntil(() => isComplete(url, headers));
    return { url, headers, answered, complete, peak: await peakBytes(child.pid!), stop };
  } catch (error) {
    await stop();
    throw error;
  }

  async function timeUntil(isDone: () => Promise<boolean>): Promise<number> {
    while (!(await isDone())) {
      if (ended() !== null) throw new Error(`signalbox serve ended with ${ended()}`);
      if (performance.now() - started > START_TIMEOUT_MS) throw new Error(`${url} was not ready in ten minutes`);
      await sleep(POLL_MS);
    }
    return performance.now() - started;
  }
}

async function answers(url: string, headers: Record<string, string>): Promise<boolean> {
  const answer = await fetch(url, { headers }).catch(() => null);
  await answer?.arrayBuffer();
  return answer?.status === 200;
}

/** Whether `/readyz` states no progress of the volume, or that all is laid. */
async function isComplete(url: string, headers: Record<string, string>): Promise<boolean> {
  const answer = await fetch(`${url}/readyz`, { headers });
  const fields = Object.values((await answer.json()) as Record<string, { laid?: unknown; total?: unknown } | null>);
  const progress = fields.find((field) => typeof field?.laid === 'number' && typeof field.total === 'number');
  return !progress || Number(progress.laid) >= Number(progress.total);
}

/** The peak of a process that still runs, which only Linux tells. */
export async function peakBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)![1]) * 1024;
}
