import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, Gauge, type Registry } from 'prom-client';
import { LOADER_STATES, type LoaderView } from '../domain/fleet.ts';
import type { TailState } from '../log/supervise.ts';
import { shared } from './shared.ts';

/** Values that are read at each scrape. */
export interface GaugeSources {
  version: string;
  environments: readonly string[];
  state(): TailState;
  /** Called on every state change of the tail, and when the same state is reported again. */
  onState(listener: (state: TailState) => void): void;
  /** The last folded revision. */
  revision(): number;
  /** The log's last revision, read from the log. */
  head(): Promise<number>;
  gaps(): number;
  models(): { known: number; frozen: number };
  loaders(): readonly LoaderView[];
  /** Connections that follow by server-sent events. */
  followers(): number;
  /** How far the folders of versions are laid. */
  progress(): { laid: number; total: number };
  /** The number of problems, by part. */
  problems(): Record<string, number>;
  freeBytes(): Promise<number>;
  now(): number;
}

type Labels = Record<string, string>;

export function addGauges(register: Registry, sources: GaugeSources): void {
  const { models, environments, version } = sources;
  const { gauge, labelled } = gaugesOf(register);
  addLog(register, sources);
  gauge('models', 'Models that have events.', () => models().known);
  gauge('models_frozen', 'Models that are frozen at an invalid event.', () => models().frozen);
  gauge('followers', 'Connections that follow a model by server-sent events.', sources.followers);
  gauge('volume_free_bytes', 'Free bytes on the file system of the volume; NaN if unknown.', () =>
    inTime(sources.freeBytes, Number.NaN),
  );
  gauge('volume_versions', 'Versions that are to have a folder on the volume.', () => sources.progress().total);
  gauge(
    'volume_versions_laid',
    'Those of them whose folders were looked at since the start.',
    () => sources.progress().laid,
  );
  labelled('problems', 'Entries that /readyz lists.', ['part'], () =>
    Object.entries(sources.problems()).map(([part, count]) => [{ part }, count]),
  );
  labelled('loaders', 'Live loaders; every server on a log knows the same ones.', ['environment', 'state'], () =>
    countLoaders(sources.loaders(), environments),
  );
  const caches = (of: 'hits' | 'misses') => () => sources.loaders().reduce((sum, { cache }) => sum + cache[of], 0);
  gauge('loaders_cache_hits', 'Cache hits of the live loaders; falls when a loader ends.', caches('hits'));
  gauge('loaders_cache_misses', 'Cache misses of the live loaders; falls when a loader ends.', caches('misses'));
  labelled('build_info', 'Always 1; the labels are the versions.', ['version', 'node_version'], () => [
    [{ version, node_version: process.version }, 1],
  ]);
}

const READ_WITHIN_MS = 1_000;
const TAIL_STATES: readonly TailState[] = ['live', 'catching-up', 'cut-off', 'diverged'];

function addLog(register: Registry, sources: GaugeSources): void {
  const { state, revision, now } = sources;
  const { gauge, labelled } = gaugesOf(register);
  const reconnects = new Counter({
    name: 'signalbox_log_reconnects_total',
    help: 'Times that following the log stopped or could not start.',
    registers: [register],
  });
  let behindSince = state() === 'live' ? null : now();
  sources.onState((next) => {
    behindSince = next === 'live' ? null : (behindSince ?? now());
    if (next === 'cut-off' || next === 'diverged') reconnects.inc();
  });
  // If the log does not respond, the last folded revision counts as its head.
  const head = shared(async () => {
    const read = state() === 'live' ? await inTime(sources.head, 0) : 0;
    return Math.max(read, revision());
  });
  gauge('log_head_revision', 'The last known revision of the log.', head);
  gauge('projection_lag_revisions', 'Revisions of the log that this server has not folded yet.', async () =>
    Math.max((await head()) - revision(), 0),
  );
  gauge(
    'projection_lag_seconds',
    'Seconds for which this server has been behind the head of the log; 0 if it is not.',
    () => (behindSince === null ? 0 : (now() - behindSince) / 1000),
  );
  gauge('log_gaps', 'Places where revisions were deleted from the log.', sources.gaps);
  gauge('writable', '1 while this server can store events, else 0.', () => Number(state() === 'live'));
  labelled('log_state', '1 for the current state, 0 for the others.', ['state'], () =>
    TAIL_STATES.map((name) => [{ state: name }, Number(name === state())]),
  );
}

/** Limits the time for one value, so that the other metrics are still exported. */
function inTime(read: () => Promise<number>, otherwise: number): Promise<number> {
  return Promise.race([read().catch(() => otherwise), sleep(READ_WITHIN_MS, otherwise, { ref: false })]);
}

// A stopped loader is removed from the fleet.
const LIVE_STATES = LOADER_STATES.filter((state) => state !== 'stopped');

/** Counts by environment and state; an unknown environment is `other`. */
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
