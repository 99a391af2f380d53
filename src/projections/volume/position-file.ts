import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ifMissing } from '../../files/errno.ts';
import { replaceFile } from '../../files/replace.ts';
import type { LogPosition } from '../../log/identity.ts';

const Position: z.ZodType<LogPosition> = z.object({
  generation: z.int(),
  epoch: z.string().nullable(),
  revision: z.int(),
  hash: z.string().nullable(),
});

export function positionFile(volume: string): string {
  return join(volume, '.signalbox', 'position.json');
}

/** Returns the position in the log that the volume shows; null for a new volume. */
export async function readPosition(volume: string): Promise<LogPosition | null> {
  const text = await readFile(positionFile(volume), 'utf8').catch(ifMissing(null));
  if (text === null) return null;
  try {
    return Position.parse(JSON.parse(text));
  } catch (cause) {
    throw new Error(`${positionFile(volume)} is not valid; remove it to accept the log as it is.`, { cause });
  }
}

export async function writePosition(volume: string, position: LogPosition): Promise<void> {
  await mkdir(join(volume, '.signalbox'), { recursive: true, mode: 0o700 });
  await replaceFile(positionFile(volume), JSON.stringify(position));
}
