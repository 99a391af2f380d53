import type { Replay } from '../../audit/replay.ts';
import { type Answer, type Difference, differencesOf, missingIn } from '../../audit/reports/against.ts';
import type { LogSource } from '../../proof/source.ts';
import { checkScope, type Report, readLog, type Scope, shown } from './report.ts';

/** Reports whether the log verifies, and whether a registry's answers follow from it (null: no registry to compare). */
export async function verifyReport(source: LogSource, scope: Scope, answers: Answer[] | null): Promise<Report> {
  const differences: Difference[] = [];
  const compare = answers && comparison(answers, differences);
  const replay = await readLog(source, scope, compare ? { before: compare } : {});
  checkScope(replay, scope);
  const { findings, revision, events, models } = replay;
  const early = answers?.at(-1);
  if (early && early.revision > source.head) differences.push(aheadOf(source, early));
  const wrong = [
    ...findings,
    ...differences.map(({ what, ...of }) => ({ ...of, what: `The registry differs in ${what}.` })),
  ];
  const json = { verified: wrong.length === 0, revision, events, models: models.size, findings, differences };
  const titles = ['REVISION', 'MODEL', 'CHECK', 'WHAT', 'EXPECTED', 'ACTUAL'];
  const records = [
    ...findings.map((finding) => ({ ...finding })),
    ...differences.map((difference) => ({ ...difference, check: 'against', unchecked: 0 })),
  ];
  return {
    lines: wrong.length === 0 ? success(replay, answers) : [`Problems found: ${wrong.length}`],
    tables: [{ titles, rows: records.map(row) }],
    json,
    columns: ['revision', 'model', 'check', 'what', 'expected', 'actual', 'unchecked'],
    records,
    wrong,
  };
}

/** Compares each answer as soon as the log is read up to the answer's revision. */
function comparison(answers: Answer[], differences: Difference[]) {
  let next = 0;
  return (revision: number, replay: Replay): void => {
    for (; next < answers.length && answers[next]!.revision < revision; next++) {
      if (next === 0) differences.push(...missingIn(answers, replay));
      differences.push(...differencesOf(answers[next]!, replay));
    }
  };
}

function aheadOf({ head }: LogSource, { revision }: Answer): Difference {
  return { revision: head, model: null, what: 'the end of the log', expected: head, actual: revision };
}

function success({ events, models, revision }: Replay, answers: Answer[] | null): string[] {
  const counts = `Events: ${events}. Models: ${models.size}.`;
  const line = `Up to revision ${revision} every event follows from the ones before it. ${counts}`;
  return answers ? [line, 'The answers of the registry follow from them.'] : [line];
}

function row({ revision, model, check, what, expected, actual }: Report['records'][number]) {
  return [revision as number, model as string | null, check as string, what as string, shown(expected), shown(actual)];
}
