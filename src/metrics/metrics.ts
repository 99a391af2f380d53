import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import type { Command } from '../commands/command.ts';
import type { Execute } from '../commands/execute.ts';
import { COMMAND_NAMES } from '../commands/names.ts';
import type { Outcome } from '../commands/outcome.ts';
import { Problem, problemTable } from '../domain/errors.ts';
import { isMove } from '../domain/events.ts';
import type { HttpMetrics } from '../http/services.ts';
import { SCRUB_RESULTS, type ScrubResult } from '../projections/volume/repair.ts';
import type { Moved } from './convergence.ts';
import { shared } from './shared.ts';

/**
 * The counters and timers of a server. No label names a model: there may be thousands, and Prometheus keeps a series for each
 * combination of labels. The history and the log lines name the model.
 */
export interface Metrics extends HttpMetrics {
  register: Registry;
  /** Counts the commands that go through it; calls `moved` for those that moved an environment. */
  counting(execute: Execute, moved: (moved: Moved) => void): Execute;
  appended(seconds: number): void;
  converged(environment: string, seconds: number): void;
  /** Counts a read of an artifact: from a copy on the volume, or from the store. */
  artifactRead(isCopy: boolean): void;
  /** Counts a blob that the scrub read again. */
  scrubbed(result: ScrubResult): void;
}

/** The server's failures. Each series starts at 0, because `increase()` does not see the first count of a new series. */
const FAILURES = problemTable.filter(({ status }) => status >= 500).map(({ code }) => code);

const FAST = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const SLOW = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];

/** Uses a prom-client registry of its own: servers in one process share nothing. */
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
    help: 'Commands by outcome: ok, unchanged, repeated, dry-run, or the code of the refusal.',
    labelNames: ['command', 'code'],
    registers,
  });
  for (const command of COMMAND_NAMES) {
    for (const code of ['ok', 'conflict', ...FAILURES]) commands.inc({ command, code }, 0);
  }
  const publish = new Histogram({
    name: 'signalbox_publish_duration_seconds',
    help: 'Duration of publishing over HTTP, from the request to the answer, including the upload.',
    buckets: SLOW,
    registers,
  });
  const append = new Histogram({
    name: 'signalbox_append_duration_seconds',
    help: 'Duration of appending an event to the log, until the outcome is known, including retries.',
    buckets: FAST,
    registers,
  });
  const convergence = new Histogram({
    name: 'signalbox_convergence_duration_seconds',
    help: 'From a move that this server stored until the last live loader of the environment reports that it serves the version.',
    labelNames: ['environment'],
    buckets: SLOW,
    registers,
  });
  for (const environment of environments) convergence.zero({ environment });
  const hits = new Counter({
    name: 'signalbox_manifest_cache_hits_total',
    help: 'Answers with the active manifest that were cached by an earlier request.',
    registers,
  });
  const misses = new Counter({
    name: 'signalbox_manifest_cache_misses_total',
    help: 'Answers with the active manifest that had to be built.',
    registers,
  });
  const scrubbed = new Counter({
    name: 'signalbox_scrub_blobs_total',
    help: 'Blobs that the scrub read again, by result.',
    labelNames: ['result'],
    registers,
  });
  for (const result of SCRUB_RESULTS) scrubbed.inc({ result }, 0);
  const reads = new Counter({
    name: 'signalbox_artifact_reads_total',
    help: 'Reads of artifacts that are kept in a store: from a copy on the volume, or from the store.',
    labelNames: ['from'],
    registers,
  });
  for (const from of ['volume', 'store']) reads.inc({ from }, 0);
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
    artifactRead: (isCopy) => reads.inc({ from: isCopy ? 'volume' : 'store' }),
    scrubbed: (result) => scrubbed.inc({ result }),
    manifestCache: (hit) => (hit ? hits : misses).inc(),
    requests(method, route) {
      const counts = new Map<number, number>();
      // Without the patterns of the path parameters.
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

/** Counts in plain numbers until the scrape: every answer is counted, and finding a series by its labels is slower. */
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
