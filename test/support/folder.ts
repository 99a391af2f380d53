import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Registers a cleanup that runs at the end of a test or of its file. */
export type Ends = (cleanup: () => Promise<void>) => void;

/** Creates a folder that is removed when the test ends. */
export async function temporaryFolder(ends: Ends = onTestFinished): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-test-'));
  ends(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
