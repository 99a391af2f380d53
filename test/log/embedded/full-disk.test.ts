import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { lt } from 'semver';
import { beforeAll, describe, expect, test } from 'vitest';
import { temporaryFolder } from '../../support/folder.ts';
import { FETCH_TIMEOUT_MS, realServer } from './helpers.ts';

beforeAll(realServer, FETCH_TIMEOUT_MS);

// A separate mount namespace, so that the tiny disk disappears with the process. `-r` maps an ordinary user to root in it.
const namespace = process.getuid?.() === 0 ? ['-m'] : ['-rm'];
const mountTiny = 'mount -t tmpfs -o size=12m none "$0"';

describe.runIf(process.platform === 'linux')('a full disk', { timeout: 90_000 }, () => {
  test('recovers without intervention once there is space again', async () => {
    const disk = join(await temporaryFolder(), 'disk');
    await mkdir(disk);
    const can = spawnSync('unshare', [...namespace, 'sh', '-c', mountTiny, disk], { encoding: 'utf8' });
    if (can.status !== 0) {
      throw new Error(`This test needs mount namespaces, which this kernel does not allow: ${can.stderr ?? can.error}`);
    }
    const child = join(import.meta.dirname, 'full-disk-child.ts');
    const command = `${mountTiny} && exec "$1" "$2" "$0" "$3"`;
    const args = [...namespace, 'sh', '-c', command, disk, process.execPath, child, await realServer()];
    const run = spawnSync('unshare', args, { encoding: 'utf8', timeout: 80_000 });
    expect(run.status, run.stderr).toBe(0);
    const seen = JSON.parse(run.stdout);
    expect(seen).toMatchObject({ refused: true, restartedWhileFull: false, stored: true });
    expect(seen.acknowledged).toBeGreaterThan(50);
    expect(seen.found).toBeGreaterThanOrEqual(seen.acknowledged);
    // 2.10 recovers by itself (measured: 2.10.27, 2.10.29); 2.15 does not (measured: 2.15.1, 2.15.2).
    if (lt(seen.version, '2.11.0')) expect(seen.restarted).toBe(false);
  });
});
