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
import type { Report, Scope } from './replay/report.ts';

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
A moment is a revision or a time: 57, 2026-03-03, "2026-03-03 14:05" (UTC), 2026-03-03T15:05:00+01:00. It includes that revision,
or every event up to that time.

Examples:
  signalbox replay --at "2026-03-03 14:05" --env production
  signalbox replay --rollbacks -m fraud --csv > rollbacks.csv
  signalbox replay --diff 2026-03-01 2026-04-01
  signalbox replay --file export.jsonl --verify
  signalbox replay --timeline --html march.html`;

export function replayCommand(): Command {
  return new Command('replay')
    .description('read the whole log with an independent implementation of the rules, and report what happened')
    .option('--at <moment>', 'the versions, and what was active, at a moment', moment)
    .option('--rollbacks', 'every rollback, including activations that return to an earlier version')
    .option('--diff <moments...>', 'what changed between two moments', moments)
    .option('--verify', 'check that every event follows from the ones before it')
    .option('--timeline', 'which version was active when')
    .option('--file <export>', 'read an exported file instead of the stream of NATS_URL or REGISTRY_VOLUME')
    .addOption(new Option('-m, --model <name>', 'only this model; repeatable').default([], 'all').argParser(another))
    .option('-e, --env <environment>', 'only this environment')
    .option('--against <url>', 'with --verify: also compare the answers of a running registry with the log')
    .option('--html <file>', 'with --timeline: write the timeline as an HTML page')
    .option('--json', 'print JSON')
    .option('--csv', 'print CSV')
    .addHelpText('after', EXAMPLES)
    .action(async (options: Options) => {
      const mode = modeOf(options);
      // Read before the log is opened, so that the log is at least as long as the registry's answers.
      const answers = options.against === undefined ? null : await answersOf(options.against, options.model);
      const report = await withLogSource(options.file, (source) => reportOf(mode, options, source, answers));
      print(report, options);
      if (report.wrong.length > 0) throw new HistoryBroken(clean(failureOf(report.wrong[0]!, report.wrong.length)));
    });
}

/** @throws {WrongUsage} */
function modeOf(options: Options): Mode {
  const modes = MODES.filter((mode) => options[mode] !== undefined);
  const [mode] = modes;
  if (!mode || modes.length > 1) throw new WrongUsage('Give one of --at, --rollbacks, --diff, --verify, --timeline.');
  if (options.against !== undefined && mode !== 'verify') throw new WrongUsage('--against requires --verify.');
  if (options.html !== undefined && mode !== 'timeline') throw new WrongUsage('--html requires --timeline.');
  if (options.json && options.csv) throw new WrongUsage('Give --json or --csv, not both.');
  if (mode === 'diff' && options.diff!.length !== 2) throw new WrongUsage('--diff takes two moments.');
  if (mode === 'verify' && options.env !== undefined)
    throw new WrongUsage('--verify always checks whole models: remove --env.');
  return mode;
}

async function reportOf(mode: Mode, options: Options, source: LogSource, answers: Answer[] | null): Promise<Report> {
  const { model, env, file, html } = options;
  const scope: Scope = { models: model.length > 0 ? new Set(model) : undefined, environment: env };
  if (mode === 'verify') return (await import('./replay/verify.ts')).verifyReport(source, scope, answers);
  if (mode === 'timeline') {
    const now = file === undefined ? Date.now() : null;
    return (await import('./replay/timeline.ts')).timelineReport(source, scope, { now, html });
  }
  if (mode === 'at') return (await import('./replay/at.ts')).atReport(source, scope, options.at!);
  if (mode === 'rollbacks') return (await import('./replay/rollbacks.ts')).rollbackReport(source, scope);
  const [from, to] = options.diff!;
  return (await import('./replay/diff.ts')).diffReport(source, scope, from!, to!);
}

function print(report: Report, { json, csv }: Options): void {
  if (json) printJson(report.json);
  else if (csv) printCsv(report.columns, report.records);
  else {
    report.lines.forEach(printLine);
    for (const [i, { titles, rows }] of report.tables.filter(({ rows }) => rows.length > 0).entries()) {
      if (i > 0) printLine('');
      printTable(titles, rows);
    }
  }
}

function failureOf({ revision, model, what }: Pick<Finding, 'revision' | 'model' | 'what'>, count: number): string {
  const more = count > 1 ? ` Further problems: ${count - 1}.` : '';
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
