import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, Gauge, type Registry } from 'prom-client';
import { LOADER_STATES, type LoaderView } from '../domain/fleet.ts';
import type { TailState } from '../log/supervise.ts';
import { shared } from './shared.ts';

/** What is looked up when somebody asks for the metrics. */
export interface GaugeSources {
  version: string;
  environments: readonly string[];
  state(): TailState;
  /** Each word of the log's tail, even if it is the same one again. */
  onState(listener: (state: TailState) => void): void;
  /** The last revision that is folded. */
  revision(): number;
  /** The log's last revision, as the log itself says. */
  head(): Promise<number>;
  gaps(): number;
  models(): { known: number; frozen: number };
  loaders(): readonly LoaderView[];
  /** Those who follow by server-sent events. */
  followers(): number;
  /** By part: how many things an operator should look at. */
  problems(): Record<string, number>;
  freeBytes(): Promise<number>;
  now(): number;
}

type Labels = Record<string, string>;

/** Adds what says how things stand whenever it is read. */
export function addGauges(register: Registry, sources: GaugeSources): void {
  const { models, environments, version } = sources;
  const { gauge, labelled } = gaugesOf(register);
  addLog(register, sources);
  gauge('models', 'Models that have events.', () => models().known);
  gauge('models_frozen', 'Models whose log cannot be followed to its end.', () => models().frozen);
  gauge('followers', 'Connections that follow a model by server-sent events.', sources.followers);
  gauge('volume_free_bytes', 'What the file system of the volume has left; NaN where it does not say.', () =>
    toldInTime(sources.freeBytes, Number.NaN),
  );
  labelled('problems', 'Things that an operator should look at, as /readyz names them.', ['part'], () =>
    Object.entries(sources.problems()).map(([part, count]) => [{ part }, count]),
  );
  labelled('loaders', 'Live loaders, as all servers hear of them.', ['environment', 'state'], () =>
    countLoaders(sources.loaders(), environments),
  );
  const caches = (of: 'hits' | 'misses') => () => sumOf(sources.loaders().map(({ cache }) => cache[of]));
  gauge('loaders_cache_hits', 'Sum of what the live loaders say; it falls when one of them ends.', caches('hits'));
  gauge('loaders_cache_misses', 'Sum of what the live loaders say; it falls when one of them ends.', caches('misses'));
  labelled('build_info', '1, with what runs here.', ['version', 'node_version'], () => [
    [{ version, node_version: process.version }, 1],
  ]);
}

const TOLD_WITHIN_MS = 1_000;
const TAIL_STATES: readonly TailState[] = ['live', 'catching-up', 'cut-off', 'diverged'];

function addLog(register: Registry, sources: GaugeSources): void {
  const { state, revision, now } = sources;
  const { gauge, labelled } = gaugesOf(register);
  const reconnects = new Counter({
    name: 'signalbox_log_reconnects_total',
    help: 'Times that following the log ended, or could not begin.',
    registers: [register],
  });
  let behindSince = state() === 'live' ? null : now();
  sources.onState((next) => {
    behindSince = next === 'live' ? null : (behindSince ?? now());
    if (next === 'cut-off' || next === 'diverged') reconnects.inc();
  });
  // A log that does not answer is as long as it is known to be.
  const head = shared(async () => {
    const told = state() === 'live' ? await toldInTime(sources.head, 0) : 0;
    return Math.max(told, revision());
  });
  gauge('log_head_revision', 'The last revision of the log, as far as it is known.', head);
  gauge('projection_lag_revisions', 'Revisions of the log that are not folded here yet.', async () =>
    Math.max((await head()) - revision(), 0),
  );
  gauge('projection_lag_seconds', 'How long the log could not be followed to its head; 0 while it is.', () =>
    behindSince === null ? 0 : (now() - behindSince) / 1000,
  );
  gauge('log_gaps', 'Places where somebody took revisions out of the log.', sources.gaps);
  gauge('writable', '1 while this server can store events, else 0.', () => Number(state() === 'live'));
  labelled('log_state', '1 for how the log is followed at the moment, else 0.', ['state'], () =>
    TAIL_STATES.map((name) => [{ state: name }, Number(name === state())]),
  );
}

/** What does not answer must not take the other metrics with it. */
function toldInTime(ask: () => Promise<number>, otherwise: number): Promise<number> {
  return Promise.race([ask().catch(() => otherwise), sleep(TOLD_WITHIN_MS, otherwise, { ref: false })]);
}

// Who has stopped is off the list.
const LIVE_STATES = LOADER_STATES.filter((state) => state !== 'stopped');

/** Of every state in every environment; whoever reports another environment than there are is one of the `other` ones. */
function countLoaders(loaders: readonly LoaderView[], environments: readonly string[]): [Labels, number][] {
  const placed = loaders.map(({ environment, state }) => ({
    environment: environments.includes(environment) ? environment : 'other',
    state,
  }));
  return [...environments, 'other'].flatMap((environment) =>
    LIVE_STATES.map((state): [Labels, number] => {
      const count = placed.filter((loader) => loader.environment === environment && loader.state === state).length;
      return [{ environment, state }, count];
    }),
  );
}

function sumOf(numbers: number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

function gaugesOf(register: Registry) {
  const registers = [register];
  return {
    gauge(name: string, help: string, value: () => number | Promise<number>): void {
      new Gauge({
        name: `signalbox_${name}`,
        help,
        registers,
        async collect() {
          this.set(await value());
        },
      });
    },
    labelled(name: string, help: string, labelNames: string[], values: () => [Labels, number][]): void {
      new Gauge({
        name: `signalbox_${name}`,
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          for (const [labels, value] of values()) this.set(labels, value);
        },
      });
    },
  };
}
