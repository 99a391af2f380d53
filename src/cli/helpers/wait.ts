import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { RegistryUnreachable } from '../../client/client.ts';
import { type FleetView, hasGivenUp, type LoaderView } from '../../domain/fleet.ts';
import type { Connection } from './connection.ts';
import { activeOf, laggards, progressOf } from './convergence.ts';
import { NotConverged } from './failure.ts';
import { printLine, tell } from './output.ts';
import { count } from './pages.ts';

const POLL_MS = 500;
const ANSWER_WITHIN_MS = 10_000;
const MAX_TOLD = 20;

export function withWait(command: Command): Command {
  const wait = new Option('--wait [seconds]', 'return when every loader of the environment serves it, or fail with 6');
  return command.addOption(wait.preset('120').argParser(count));
}

/** What the loaders are to serve: what an event made active; null for nothing. */
export interface Move {
  environment: string;
  version: string | null;
  revision: number;
}

/**
 * Returns when every live loader serves what was made active.
 *
 * @throws {NotConverged} at the deadline, or as soon as waiting cannot help any more
 */
export async function waitForLoaders(
  connection: Connection,
  move: Move,
  seconds: number,
  json: boolean,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  let told = '';
  for (;;) {
    const answer = await ask(connection, move.environment);
    const last = performance.now() >= deadline;
    if (answer instanceof RegistryUnreachable) {
      if (last) throw answer;
    } else {
      const { verdict, line, why } = judge(answer, move);
      if (verdict === 'converged') return (json ? tell : printLine)(line);
      if (last || verdict === 'hopeless') throw new NotConverged([`${line}.`, ...why].join('\n  '));
      if (line !== told) tell(line);
      told = line;
    }
    await sleep(POLL_MS);
  }
}

/** A registry that is away for a while does not end the waiting. */
async function ask({ client, base }: Connection, environment: string): Promise<FleetView | RegistryUnreachable> {
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  try {
    return await client.call<FleetView>('GET', `${base}/loaders`, { query: { environment }, signal });
  } catch (error) {
    if (error instanceof RegistryUnreachable) return error;
    if (signal.aborted) return new RegistryUnreachable('The registry does not answer.');
    throw error;
  }
}

interface Judgement {
  verdict: 'converged' | 'waiting' | 'hopeless';
  line: string;
  why: string[];
}

function judge({ loaders, environments }: FleetView, { environment, version, revision }: Move): Judgement {
  const convergence = environments[environment]!;
  const moved = convergence.revision ?? revision;
  if (convergence.active !== version || moved < revision) {
    // Moved again since then; or this is another server than the one that moved it, and it has not heard of it yet.
    const verdict = moved > revision ? 'hopeless' : 'waiting';
    return { verdict, line: `The registry says that ${environment} is on ${convergence.active ?? 'none'}`, why: [] };
  }
  if (loaders.length === 0) return { verdict: 'converged', line: 'No loader is there.', why: [] };
  const active = activeOf(convergence);
  const behind = laggards(loaders, active);
  const verdict = behind.length === 0 ? 'converged' : behind.every(isHopeless) ? 'hopeless' : 'waiting';
  const more = behind.length - MAX_TOLD;
  const why = [...behind.slice(0, MAX_TOLD).map(({ why }) => why), ...(more > 0 ? [`and ${more} more`] : [])];
  return { verdict, line: progressOf(convergence, ' loaders'), why };

  function isHopeless({ loader }: { loader: LoaderView }): boolean {
    return hasGivenUp(loader, active);
  }
}
