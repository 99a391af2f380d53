import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { temporaryFolder } from '../../support/folder.ts';
import { FETCH_TIMEOUT_MS, realServer } from './helpers.ts';

beforeAll(realServer, FETCH_TIMEOUT_MS);

test('a process that is out of file descriptors does not restart its healthy nats-server', async () => {
  const child = join(import.meta.dirname, 'descriptors-child.ts');
  const args = [process.execPath, child, join(await temporaryFolder(), '.nats'), await realServer()];
  const run = spawnSync('sh', ['-c', 'ulimit -n 200; exec "$@"', 'sh', ...args], { encoding: 'utf8', timeout: 25_000 });
  expect(run.status, run.stderr).toBe(0);
  const seen = JSON.parse(run.stdout);
  expect(seen).toMatchObject({ code: 'EMFILE', restarted: false });
  expect(seen.messages).not.toContain('nats-server is unhealthy');
});
