import type { Finding } from '../../audit/finding.ts';
import { type Replay, type ReplayOptions, replayLog } from '../../audit/replay.ts';
import { environmentsOf } from '../../audit/reports/at.ts';
import { isMove, type Move } from '../../audit/rules/event.ts';
import { Problem } from '../../domain/errors.ts';
import type { LogSource } from '../../proof/source.ts';
import { progressBar, revisions } from '../helpers/output.ts';

/** The part of the log to report on. */
export interface Scope {
  models: ReadonlySet<string> | undefined;
  environment: string | undefined;
}

export type Cell = string | number | null;

/** The result of a mode: as text, JSON and CSV, and with everything that does not verify. */
export interface Report {
  lines: string[];
  tables: { titles: string[]; rows: Cell[][] }[];
  json: unknown;
  columns: string[];
  records: Record<string, unknown>[];
  wrong: Pick<Finding, 'revision' | 'model' | 'what'>[];
}

/** Replays the log with a progress bar. */
export function readLog(source: LogSource, { models }: Scope, options: ReplayOptions = {}): Promise<Replay> {
  return replayLog(source, { ...options, models, progress: progressBar('Reading', revisions) });
}

/** @throws {Problem} unknown-model; unknown-environment if there are models and none of them has it */
export function checkScope(replay: Replay, { models, environment }: Scope): void {
  for (const name of models ?? []) {
    if (!replay.names.has(name)) throw new Problem('unknown-model', `There was no model ${name} up to this moment.`);
  }
  const known = [...replay.models.values()];
  if (environment === undefined || known.length === 0) return;
  if (known.some((model) => environmentsOf(model).includes(environment))) return;
  throw new Problem('unknown-environment', `No model had an environment ${environment} up to this moment.`);
}

/** Calls `each` for the moves of an environment, or of all. */
export function movesOf({ environment }: Scope, each: (event: Move) => void): NonNullable<ReplayOptions['each']> {
  return (event) => {
    if (isMove(event) && (environment === undefined || event.data.environment === environment)) each(event);
  };
}

/** A value for a table cell. Long values, such as a manifest's fields, are cut off. */
export function shown(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 44 ? `${text.slice(0, 43)}…` : text;
}
