import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import type { Command } from '../commands/command.ts';
import type { Execute, Outcome } from '../commands/execute.ts';
import { COMMAND_NAMES } from '../commands/names.ts';
import { Problem, problemTable } from '../domain/errors.ts';
import { isMove } from '../domain/events.ts';
import type { HttpMetrics } from '../http/services.ts';
import type { Moved } from './convergence.ts';
import { shared } from './shared.ts';

/**
 * What the server counts and times. No label names a model, since there may be thousands and each combination of labels is a
 * series that Prometheus keeps; the history and the log lines say which one.
 */
export interface Metrics extends HttpMetrics {
  register: Registry;
  /** Commands that go through it are counted; `moved` is told of those that moved an environment. */
  counting(execute: Execute, moved: (moved: Moved) => void): Execute;
  appended(seconds: number): void;
  converged(environment: string, seconds: number): void;
}

/**
 * What is not the caller's fault. `increase()` does not see the first count of a series that was not there before, so each
 * of these begins at 0.
 */
const FAILURES = problemTable.filter(({ status }) => status >= 500).map(({ code }) => code);

const FAST = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const SLOW = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];

/** A registry of its own: nothing is shared with another server in the same process. */
export function createMetrics(environments: readonly string[]): Metrics {
  const register = new Registry();
  const registers = [register];
  collectDefaultMetrics({ register });

  const moves = {
    'version.activated': moveCounter('signalbox_activations_total', 'Activations that this server stored.'),
    'version.rolled_back': moveCounter('signalbox_rollbacks_total', 'Rollbacks that this server stored.'),
    'version.deactivated': moveCounter('signalbox_deactivations_total', 'Deactivations that this server stored.'),
  };
  const commands = new Counter({
    name: 'signalbox_commands_total',
    help: 'Commands by what became of them: ok, unchanged, repeated, dry-run, or the code of the refusal.',
    labelNames: ['command', 'code'],
    registers,
  });
  for (const command of COMMAND_NAMES) {
    for (const code of ['ok', 'conflict', ...FAILURES]) commands.inc({ command, code }, 0);
  }
  const publish = new Histogram({
    name: 'signalbox_publish_duration_seconds',
    help: 'Versions published over HTTP: from the request to the answer, upload included.',
    buckets: SLOW,
    registers,
  });
  const append = new Histogram({
    name: 'signalbox_append_duration_seconds',
    help: 'Appends of an event to the log, until its outcome is known, retries included.',
    buckets: FAST,
    registers,
  });
  const convergence = new Histogram({
    name: 'signalbox_convergence_duration_seconds',
    help: 'From a move that this server stored until the last live loader of the environment reported that it serves it.',
    labelNames: ['environment'],
    buckets: SLOW,
    registers,
  });
  for (const environment of environments) convergence.zero({ environment });
  const hits = new Counter({
    name: 'signalbox_manifest_cache_hits_total',
    help: 'Answers with the active manifest that were ready from an earlier request.',
    registers,
  });
  const misses = new Counter({
    name: 'signalbox_manifest_cache_misses_total',
    help: 'Answers with the active manifest that had to be made.',
    registers,
  });
  const answered: Answered[] = [];
  requestCounter(register, answered);

  return {
    register,
    text: shared(() => register.metrics()),
    contentType: register.contentType,
    counting(execute, moved) {
      return async (command, model, input, issuer) => {
        const count = (code: string) => commands.inc({ command: command.name, code });
        try {
          const outcome = await execute(command, model, input, issuer);
          count(codeOf(outcome, command, input));
          countMove(outcome, moved);
          return outcome;
        } catch (error) {
          count(error instanceof Problem ? error.code : 'internal');
          throw error;
        }
      };
    },
    appended: (seconds) => append.observe(seconds),
    published: (seconds) => publish.observe(seconds),
    converged: (environment, seconds) => convergence.observe({ environment }, seconds),
    manifestCache: (hit) => (hit ? hits : misses).inc(),
    requests(method, route) {
      const counts = new Map<number, number>();
      // A pattern in a path's parameter is none of its name.
      answered.push({ method, route: route.replace(/\{[^}]*\}/g, ''), counts });
      return (status) => counts.set(status, (counts.get(status) ?? 0) + 1);
    },
  };

  function moveCounter(name: string, help: string): Counter<'environment'> {
    const counter = new Counter({ name, help, labelNames: ['environment'], registers });
    for (const environment of environments) counter.inc({ environment }, 0);
    return counter;
  }

  function countMove({ event, stored }: Outcome, moved: (moved: Moved) => void): void {
    if (!stored || event === null || !isMove(event)) return;
    const { environment, active } = event.data;
    moves[event.type].inc({ environment });
    moved({ model: event.model, environment, active: active[environment] ?? null });
  }
}

function codeOf<Input>({ event, stored }: Outcome, command: Command<Input>, input: Input): string {
  if (stored) return 'ok';
  if (event === null) return 'unchanged';
  return command.isDryRun?.(input) ? 'dry-run' : 'repeated';
}

interface Answered {
  method: string;
  route: string;
  counts: Map<number, number>;
}

/** Plain numbers until somebody asks: every answer is counted, and finding a series by its labels takes longer. */
function requestCounter(register: Registry, answered: Answered[]): void {
  new Counter({
    name: 'signalbox_http_requests_total',
    help: 'Answers over HTTP.',
    labelNames: ['method', 'route', 'status'],
    registers: [register],
    collect() {
      this.reset();
      for (const { method, route, counts } of answered) {
        for (const [status, count] of counts) this.inc({ method, route, status }, count);
      }
    },
  });
}
