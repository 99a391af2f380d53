import { writeFile } from 'node:fs/promises';
import { formatDuration } from '../../audit/duration.ts';
import { bars } from '../../audit/pictures/bars.ts';
import { lanesOf, type Span } from '../../audit/pictures/lanes.ts';
import { timelinePage } from '../../audit/pictures/page.ts';
import { secondsOf, type Tenure, tenureKeeper } from '../../audit/reports/tenure.ts';
import type { LogSource } from '../../proof/source.ts';
import { notify } from '../helpers/output.ts';
import { checkScope, movesOf, type Report, readLog, type Scope } from './report.ts';

export interface TimelineOptions {
  /** End of the timeline, in ms since 1970; null for the end of the log. */
  now: number | null;
  /** The page to write. */
  html: string | undefined;
}

export async function timelineReport(source: LogSource, scope: Scope, { now, html }: TimelineOptions): Promise<Report> {
  const keep = tenureKeeper();
  const tenures: Tenure[] = [];
  const replay = await readLog(source, scope, { each: movesOf(scope, (event) => tenures.push(keep(event).began)) });
  checkScope(replay, scope);
  const last = Math.max(replay.stored_at, ...[...replay.models.values()].map(({ at }) => at));
  const span = { from: tenures[0] ? startOf(tenures) : last, to: Math.max(now ?? last, last) };
  const lanes = lanesOf(tenures);
  const { revision, findings } = replay;
  if (html !== undefined) {
    const notes = findings.map((finding) => `Revision ${finding.revision}: ${finding.what}`);
    await writeFile(html, timelinePage({ lanes, span, name: source.name, revision, findings: notes }));
    notify(`Wrote ${html}.`);
  }
  const titles = ['MODEL', 'ENVIRONMENT', 'VERSION', 'FROM', 'TO', 'HOW LONG', 'BY', 'WHY', 'ENDED BY'];
  return {
    lines: lanes.length === 0 ? ['No version was ever active.'] : bars(lanes, span, process.stdout.columns ?? 100),
    tables: [{ titles, rows: lanes.flatMap((lane) => lane.tenures.map((tenure) => rowOf(tenure, span))) }],
    json: { tenures: tenures.map((tenure) => ({ ...tenure, seconds: secondsOf(tenure, span.to) })), findings },
    columns: COLUMNS,
    records: tenures.map((tenure) => recordOf(tenure, span)),
    wrong: findings,
  };
}

function startOf(tenures: Tenure[]): number {
  return tenures.reduce((first, { began }) => Math.min(first, Date.parse(began.time)), Number.POSITIVE_INFINITY);
}

function rowOf(tenure: Tenure, { to }: Span) {
  const { model, environment, version, began, ended } = tenure;
  const end = ended && `${ended.actor} (${ended.type.slice('version.'.length).replace('_', ' ')})`;
  const long = formatDuration(secondsOf(tenure, to));
  const times = [began.time, ended?.time ?? 'still', long];
  return [model, environment, version ?? 'none', ...times, began.actor, began.reason, end];
}

const COLUMNS = [
  ...['model', 'environment', 'version', 'type', 'from', 'from_revision', 'by', 'reason'],
  ...['to', 'to_revision', 'seconds', 'ended_by', 'ended_type', 'ended_reason'],
];

function recordOf(tenure: Tenure, { to }: Span): Record<string, unknown> {
  const { model, environment, version, began, ended } = tenure;
  const { type, time: from, revision: from_revision, actor: by, reason } = began;
  const until = { to: ended?.time, to_revision: ended?.revision, seconds: secondsOf(tenure, to) };
  const end = { ended_by: ended?.actor, ended_type: ended?.type, ended_reason: ended?.reason };
  return { model, environment, version, type, from, from_revision, by, reason, ...until, ...end };
}
