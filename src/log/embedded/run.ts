import { spawn } from 'node:child_process';

const KEPT_OUTPUT = 4096;

/** Runs a program to its end. Rejects with its last words when it fails, cannot be started or takes longer than `timeoutMs`. */
export function runProgram(
  program: string,
  args: string[],
  { timeoutMs, cwd, env }: { timeoutMs: number; cwd?: string; env?: NodeJS.ProcessEnv },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      ...(cwd === undefined ? {} : { cwd }),
      ...(env === undefined ? {} : { env }),
      stdio: ['ignore', 'ignore', 'pipe'],
      windowsHide: true,
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    const said = lastWords(child.stderr);
    child.once('error', (cause) => reject(new Error(`${program} cannot be run: ${cause.message}`, { cause })));
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else if (signal) reject(new Error(`${program} was ended by ${signal} (it has ${timeoutMs / 1000} s)`));
      else reject(new Error(`${program} ended with ${code}: ${said().trim().split('\n').slice(-3).join(' | ')}`));
    });
  });
}

/** Reads a stream to its end and keeps the last few KiB. */
export function lastWords(stream: NodeJS.ReadableStream): () => string {
  let kept = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    kept = (kept + text).slice(-KEPT_OUTPUT);
  });
  return () => kept;
}
