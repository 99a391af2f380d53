import type { Finding } from '../../audit/finding.ts';
import { type Replay, type ReplayOptions, replayLog } from '../../audit/replay.ts';
import { environmentsOf } from '../../audit/reports/at.ts';
import { isMove, type Move } from '../../audit/rules/event.ts';
import { Problem } from '../../domain/errors.ts';
import type { LogSource } from '../../proof/source.ts';
import { progressBar, revisions } from '../helpers/output.ts';

/** What of the log is asked for. */
export interface Asked {
  models: ReadonlySet<string> | undefined;
  environment: string | undefined;
}

export type Cell = string | number | null;

/** What a mode has to tell: for people, as JSON and as CSV; and what in the history does not fit. */
export interface Report {
  told: string[];
  tables: { titles: string[]; rows: Cell[][] }[];
  json: unknown;
  columns: string[];
  records: Record<string, unknown>[];
  wrong: Pick<Finding, 'revision' | 'model' | 'what'>[];
}

/** Reads the log with a bar of progress. */
export function readLog(source: LogSource, { models }: Asked, options: ReplayOptions = {}): Promise<Replay> {
  return replayLog(source, { ...options, models, progress: progressBar('Reading', revisions) });
}

/** @throws {Problem} unknown-model, or unknown-environment where there are models and none of them has it */
export function checkAsked(replay: Replay, { models, environment }: Asked): void {
  for (const name of models ?? []) {
    if (!replay.names.has(name)) throw new Problem('unknown-model', `There was no model ${name} up to then.`);
  }
  const known = [...replay.models.values()];
  if (environment === undefined || known.length === 0) return;
  if (known.some((model) => environmentsOf(model).includes(environment))) return;
  throw new Problem('unknown-environment', `No model had an environment ${environment} up to then.`);
}

/** The moves of an environment, or of all. */
export function movesOf({ environment }: Asked, each: (event: Move) => void): NonNullable<ReplayOptions['each']> {
  return (event) => {
    if (isMove(event) && (environment === undefined || event.data.environment === environment)) each(event);
  };
}

/** A value in a table, where a manifest's can be long. */
export function shown(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 44 ? `${text.slice(0, 43)}…` : text;
}
