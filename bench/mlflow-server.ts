import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno } from '../src/files/errno.ts';
import { pythonWith } from '../test/support/python.ts';
import { freePort, temporaryFolder } from './processes.ts';

const START_TIMEOUT_MS = 90_000;

/**
 * Starts `mlflow server` with its defaults: SQLite and four workers. Its runner of background jobs, which has nothing to do
 * here, is off. The first call installs MLflow into the user's cache folder.
 *
 * @throws {Error} if it cannot be installed or does not start
 */
export async function startMlflow() {
  const python = await pythonWith(join(import.meta.dirname, 'mlflow-requirements.txt'));
  const folder = await temporaryFolder();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  // In a process group of its own: workers survive the end of the first process.
  const child = spawn(python, ['-m', 'mlflow', 'server', '--host', '127.0.0.1', '--port', `${port}`], {
    cwd: folder,
    env: { ...process.env, MLFLOW_SERVER_ENABLE_JOB_EXECUTION: 'false', MLFLOW_DISABLE_TELEMETRY: 'true' },
    stdio: 'ignore',
    detached: true,
  });
  const kill = () => killGroup(child.pid!);
  process.once('exit', kill);
  const stop = async () => {
    process.off('exit', kill);
    const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : null;
    kill();
    await exited;
    await rm(folder, { recursive: true, maxRetries: 5 });
  };
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!(await answers(`${url}/health`))) {
    if (child.exitCode === null && performance.now() < deadline) await sleep(200);
    else {
      await stop();
      throw new Error('mlflow server did not start');
    }
  }
  return { url, stop };
}

/** Ends a process and those it started; it may have none any more. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
}
