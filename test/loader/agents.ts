import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { LoaderView } from '../../src/domain/fleet.ts';
import { ok, until } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { ELSEWHERE, MAIN, type Program } from '../support/program.ts';
import { type OwnModel, ownModel } from './support.ts';

export interface Agent {
  /** Standard error so far. */
  output(): string;
  ended: Promise<number | null>;
  /** Sends SIGTERM and returns the exit code. */
  stop(): Promise<number | null>;
}

/** Agents that follow models of one registry. */
export function agentsOf(program: () => Program) {
  return {
    /** A model with 1.0.0, 1.1.0 and 1.2.0, whose files contain their version; the first is active. */
    async published(more: Record<string, object> = {}): Promise<OwnModel> {
      const model = ownModel(program());
      for (const version of ['1.0.0', '1.1.0', '1.2.0']) {
        await model.publish(version, version, { 'deep/words.txt': version }, more[version]);
      }
      await model.activate('1.0.0');
      return model;
    },

    /** `signalbox agent` as a process, which ends with the test. */
    async startAgent(
      model: OwnModel,
      dir: string,
      args: string[] = [],
      env: Record<string, string> = {},
    ): Promise<Agent> {
      const all = ['agent', '--model', model.name, '--env', 'production', '--dir', dir, ...args];
      const variables = { REGISTRY_DSN: program().url, REGISTRY_TOKEN: await program().token(), ...env };
      const child = spawn(process.execPath, [MAIN, ...all], {
        env: { ...process.env, ...variables },
        cwd: ELSEWHERE,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let output = '';
      child.stderr.on('data', (chunk) => {
        output += chunk;
      });
      const ended = once(child, 'exit').then(([code]) => code as number | null);
      const end = (signal: NodeJS.Signals) => {
        child.kill(signal);
        return ended;
      };
      onTestFinished(async () => void (await end('SIGKILL')));
      return { output: () => output, ended, stop: () => end('SIGTERM') };
    },

    /** The report of the model's only loader. */
    async reported({ name }: OwnModel): Promise<LoaderView | undefined> {
      return (await ok(program(), 'GET', `/api/models/${name}/loaders`)).loaders[0];
    },
  };
}

/** The content of the file in `current`; null if it is missing. */
export const opened = (dir: string) => readFile(join(dir, 'current/model.txt'), 'utf8').catch(() => null);

export async function shows(dir: string, version: string): Promise<void> {
  await until(async () => (await opened(dir)) === version);
}

/** A file to which commands append lines. */
export async function notebook() {
  const path = join(await temporaryFolder(), 'lines');
  const lines = async () => (await readFile(path, 'utf8').catch(() => '')).split('\n').filter(Boolean);
  return { path, lines };
}
