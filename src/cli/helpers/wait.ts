import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { RegistryUnreachable } from '../../client/client.ts';
import { type FleetView, hasGivenUp, type LoaderView } from '../../domain/fleet.ts';
import { atMost } from '../../structures/at-most.ts';
import type { Connection } from './connection.ts';
import { activeOf, laggards, progressOf } from './convergence.ts';
import { NotConverged } from './failure.ts';
import { notify, printLine } from './output.ts';
import { count } from './pages.ts';

const POLL_MS = 500;
const ANSWER_WITHIN_MS = 10_000;
const MAX_NAMED = 20;

export function withWait(command: Command): Command {
  const wait = new Option('--wait [seconds]', 'wait until every loader serves it, up to this time; exit code 6 if not');
  return command.addOption(wait.preset('120').argParser(count));
}

/** What the loaders must converge on: what an event made active; null if it deactivated the environment. */
export interface Move {
  environment: string;
  version: string | null;
  revision: number;
}

/**
 * Waits until every live loader serves what was made active.
 *
 * @throws {NotConverged} at the deadline, or as soon as waiting longer cannot help
 */
export async function waitForLoaders(to: Connection, move: Move, seconds: number, json: boolean): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  let printed = '';
  for (;;) {
    const answer = await readFleet(to, move.environment);
    const last = performance.now() >= deadline;
    if (answer instanceof RegistryUnreachable) {
      if (last) throw answer;
    } else {
      const { verdict, line, why } = judge(answer, move);
      if (verdict === 'converged') return (json ? notify : printLine)(line);
      if (last || verdict === 'hopeless') throw new NotConverged([`${line}.`, ...why].join('\n  '));
      if (line !== printed) notify(line);
      printed = line;
    }
    await sleep(POLL_MS);
  }
}

/** Returns RegistryUnreachable instead of throwing it: a registry that is unavailable for a while does not end the wait. */
async function readFleet({ client, base }: Connection, environment: string): Promise<FleetView | RegistryUnreachable> {
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  try {
    return await client.call<FleetView>('GET', `${base}/loaders`, { query: { environment }, signal });
  } catch (error) {
    if (error instanceof RegistryUnreachable) return error;
    if (signal.aborted) return new RegistryUnreachable('The registry did not respond in time.');
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
    // The environment was moved again, or this server has not read the move from the log yet.
    const verdict = moved > revision ? 'hopeless' : 'waiting';
    return { verdict, line: `The registry reports that ${environment} is on ${convergence.active ?? 'none'}`, why: [] };
  }
  if (loaders.length === 0) return { verdict: 'converged', line: 'No loader is running.', why: [] };
  const active = activeOf(convergence);
  const behind = laggards(loaders, active);
  const verdict = behind.length === 0 ? 'converged' : behind.every(isHopeless) ? 'hopeless' : 'waiting';
  const reasons = behind.map(({ why }) => why);
  return { verdict, line: progressOf(convergence, 'loaders'), why: atMost(reasons, MAX_NAMED) };

  function isHopeless({ loader }: { loader: LoaderView }): boolean {
    return hasGivenUp(loader, active);
  }
}
