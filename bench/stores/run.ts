import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Runs a program until it ends, and returns what it wrote. @throws {Error} if it fails */
export async function finished(program: string, args: string[], env: Record<string, string> = {}): Promise<string> {
  return (await promisify(execFile)(program, args, { env: { ...process.env, ...env } })).stdout;
}

/** Returns how long an action took in ms. */
export async function timed(action: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await action();
  return performance.now() - started;
}
