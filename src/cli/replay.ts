import { Command, InvalidArgumentError, Option } from 'commander';
import type { Finding } from '../audit/finding.ts';
import { type Moment, parseMoment } from '../audit/moment.ts';
import type { Answer } from '../audit/reports/against.ts';
import { HistoryBroken, type LogSource } from '../proof/source.ts';
import { printCsv } from './helpers/csv.ts';
import { WrongUsage } from './helpers/failure.ts';
import { withLogSource } from './helpers/log.ts';
import { clean, printJson, printLine, printTable } from './helpers/output.ts';
import { answersOf } from './replay/registry-answers.ts';
import type { Asked, Report } from './replay/report.ts';

interface Options {
  file?: string;
  model: string[];
  env?: string;
  at?: Moment;
  rollbacks?: true;
  diff?: Moment[];
  verify?: true;
  timeline?: true;
  against?: string;
  html?: string;
  json?: true;
  csv?: true;
}

const MODES = ['at', 'rollbacks', 'diff', 'verify', 'timeline'] as const;
type Mode = (typeof MODES)[number];

const EXAMPLES = `
A moment is a revision or a time: 57, 2026-03-03, "2026-03-03 14:05" (UTC), 2026-03-03T15:05:00+01:00. It means everything up
to that revision, or everything that happened up to that time.

Examples:
  signalbox replay --at "2026-03-03 14:05" --env production
  signalbox replay --rollbacks -m fraud --csv > rollbacks.csv
  signalbox replay --diff 2026-03-01 2026-04-01
  signalbox replay --file export.jsonl --verify
  signalbox replay --timeline --html march.html`;

export function replayCommand(): Command {
  return new Command('replay')
    .description('read the log again from its first event, by rules of its own, and tell what happened')
    .option('--at <moment>', 'what there was, and what was active, at a moment', moment)
    .option('--rollbacks', 'every return to what was active before')
    .option('--diff <moments...>', 'what changed between two moments', moments)
    .option('--verify', 'whether every event follows from the ones before it')
    .option('--timeline', 'which version was active when')
    .option('--file <export>', 'read an exported file, not the stream of NATS_URL or REGISTRY_VOLUME')
    .addOption(
      new Option('-m, --model <name>', 'only this model; may be given again').default([], 'all').argParser(another),
    )
    .option('-e, --env <environment>', 'only this environment')
    .option('--against <url>', 'with --verify: also hold what a running registry answers against the log')
    .option('--html <file>', 'with --timeline: write a page with the picture')
    .option('--json', 'print JSON')
    .option('--csv', 'print CSV')
    .addHelpText('after', EXAMPLES)
    .action(async (options: Options) => {
      const mode = modeOf(options);
      // Before the log is opened: a registry cannot know more of it than is then there.
      const answers = options.against === undefined ? null : await answersOf(options.against, options.model);
      const report = await withLogSource(options.file, (source) => reportOf(mode, options, source, answers));
      print(report, options);
      if (report.wrong.length > 0) throw new HistoryBroken(clean(sentence(report.wrong[0]!, report.wrong.length)));
    });
}

/** @throws {WrongUsage} */
function modeOf(options: Options): Mode {
  const modes = MODES.filter((mode) => options[mode] !== undefined);
  const [mode] = modes;
  if (!mode || modes.length > 1) throw new WrongUsage('Say one of --at, --rollbacks, --diff, --verify, --timeline.');
  if (options.against !== undefined && mode !== 'verify') throw new WrongUsage('--against goes with --verify.');
  if (options.html !== undefined && mode !== 'timeline') throw new WrongUsage('--html goes with --timeline.');
  if (options.json && options.csv) throw new WrongUsage('Say --json or --csv, not both.');
  if (mode === 'diff' && options.diff!.length !== 2) throw new WrongUsage('--diff takes two moments.');
  if (mode === 'verify' && options.env !== undefined)
    throw new WrongUsage('--verify is of whole models: leave --env out.');
  return mode;
}

/** The modes are loaded then, so that the other verbs start without them. */
async function reportOf(mode: Mode, options: Options, source: LogSource, answers: Answer[] | null): Promise<Report> {
  const { model, env, file, html } = options;
  const asked: Asked = { models: model.length > 0 ? new Set(model) : undefined, environment: env };
  if (mode === 'verify') return (await import('./replay/verify.ts')).verifyReport(source, asked, answers);
  if (mode === 'timeline') {
    const now = file === undefined ? Date.now() : null;
    return (await import('./replay/timeline.ts')).timelineReport(source, asked, { now, html });
  }
  if (mode === 'at') return (await import('./replay/at.ts')).atReport(source, asked, options.at!);
  if (mode === 'rollbacks') return (await import('./replay/rollbacks.ts')).rollbackReport(source, asked);
  const [from, to] = options.diff!;
  return (await import('./replay/diff.ts')).diffReport(source, asked, from!, to!);
}

function print(report: Report, { json, csv }: Options): void {
  if (json) printJson(report.json);
  else if (csv) printCsv(report.columns, report.records);
  else {
    report.told.forEach(printLine);
    for (const [i, { titles, rows }] of report.tables.filter(({ rows }) => rows.length > 0).entries()) {
      if (i > 0) printLine('');
      printTable(titles, rows);
    }
  }
}

function sentence({ revision, model, what }: Pick<Finding, 'revision' | 'model' | 'what'>, count: number): string {
  const more = count > 1 ? ` There are ${count - 1} more.` : '';
  return `The history does not verify: at revision ${revision}${model === null ? '' : ` of ${model}`}: ${what}${more}`;
}

function moment(text: string): Moment {
  const parsed = parseMoment(text);
  if (parsed) return parsed;
  throw new InvalidArgumentError('It must be a revision or a time, such as 57 or 2026-03-03T14:05:00Z.');
}

function moments(text: string, earlier: Moment[] = []): Moment[] {
  return [...earlier, moment(text)];
}

function another(name: string, earlier: string[]): string[] {
  return [...earlier, name];
}
