import type { Replay } from '../../audit/replay.ts';
import { type Answer, type Difference, differencesOf, missingIn } from '../../audit/reports/against.ts';
import type { LogSource } from '../../proof/source.ts';
import { type Asked, checkAsked, type Report, readLog, shown } from './report.ts';

/** Whether the log is whole, and whether a registry's answers (null: none was asked) follow from it. */
export async function verifyReport(source: LogSource, asked: Asked, answers: Answer[] | null): Promise<Report> {
  const differences: Difference[] = [];
  const compare = answers && comparison(answers, differences);
  const replay = await readLog(source, asked, compare ? { before: compare } : {});
  checkAsked(replay, asked);
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
    told: wrong.length === 0 ? whole(replay, answers) : [`What does not fit: ${wrong.length}`],
    tables: [{ titles, rows: records.map(row) }],
    json,
    columns: ['revision', 'model', 'check', 'what', 'expected', 'actual', 'unchecked'],
    records,
    wrong,
  };
}

/** Compares each answer when the log was read up to its revision. */
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
  return { revision: head, model: null, what: 'how far the log goes', expected: head, actual: revision };
}

function whole({ events, models, revision }: Replay, answers: Answer[] | null): string[] {
  const counts = `Events: ${events}. Models: ${models.size}.`;
  const told = `Up to revision ${revision} every event follows from the ones before it. ${counts}`;
  return answers ? [told, 'The registry answers what follows from them.'] : [told];
}

function row({ revision, model, check, what, expected, actual }: Report['records'][number]) {
  return [revision as number, model as string | null, check as string, what as string, shown(expected), shown(actual)];
}
