import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Registers what is to be undone, when a test ends or a file's last one. */
export type Ends = (undo: () => Promise<void>) => void;

/** A folder of this test's own, removed when it ends. */
export async function temporaryFolder(ends: Ends = onTestFinished): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-test-'));
  ends(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
