import { join } from 'node:path';
import type { Digest } from '../../src/domain/digest.ts';
import { finished } from './run.ts';

/** What is sent and read. */
export interface Sample {
  path: string;
  digest: Digest;
}

/** One side of a comparison. A transfer returns how long it took in ms. */
export interface Side {
  up(sample: Sample): Promise<Transfer>;
  down(sample: Sample): Promise<Transfer>;
  remove(sample: Sample): Promise<unknown>;
}

export interface Transfer {
  ms: number;
  /** Peak resident memory of the process in bytes, if it was measured. */
  peak?: number;
}

/** A store that runs, and the tools that do the same without the registry. */
export interface MeasuredStore {
  /** The variables that make a registry use the store. */
  env: { REGISTRY_ARTIFACTS: string } & Record<string, string>;
  bare: Side;
  /** What `bare` is. */
  tools: { up: string; down: string };
  stop(): Promise<void>;
}

/** The store of the registry, in a new process for each transfer. */
export function throughRegistry({ env }: MeasuredStore): Side {
  return nodeSide('transfer.ts', env);
}

/** A side that is a program of this folder. */
export function nodeSide(program: string, env: Record<string, string>): Side {
  const run = async (action: string, { path, digest }: Sample): Promise<Transfer> =>
    JSON.parse(await finished(process.execPath, [join(import.meta.dirname, program), action, path, digest], env));
  return {
    up: (sample) => run('up', sample),
    down: (sample) => run('down', sample),
    remove: (sample) => run('remove', sample),
  };
}
