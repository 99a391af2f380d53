import type { Moment } from '../../audit/moment.ts';
import { type Change, changesBetween, moveCounter } from '../../audit/reports/diff.ts';
import type { LogSource } from '../../proof/source.ts';
import { WrongUsage } from '../helpers/failure.ts';
import { type Asked, type Cell, checkAsked, type Report, readLog, shown } from './report.ts';

/** What changed between two moments. @throws {WrongUsage} where the second comes first */
export async function diffReport(source: LogSource, asked: Asked, from: Moment, to: Moment): Promise<Report> {
  const before = await readLog(source, asked, { moment: from });
  const moves = moveCounter();
  const after = await readLog(source, asked, {
    moment: to,
    each: (event) => event.revision > (before.models.get(event.model)?.revision ?? 0) && moves.count(event),
  });
  if (after.revision < before.revision) throw new WrongUsage('The first of the two moments comes after the second.');
  checkAsked(after, asked);
  const changes = changesBetween(before, after, moves.of, asked.environment);
  const range = { from: before.revision, to: after.revision };
  const told = [
    changes.length === 0
      ? `Nothing changed from revision ${range.from} to ${range.to}.`
      : `From revision ${range.from} to ${range.to}:`,
  ];
  const titles = ['MODEL', 'WHAT', 'OF', 'BEFORE', 'AFTER', 'MOVES', 'BY', 'REVISION'];
  const columns = ['model', 'what', 'of', 'field', 'before', 'after', 'moves', 'by', 'revision'];
  const records = changes.map((change) => ({ ...change }));
  const tables = [{ titles, rows: changes.map(changeRow) }];
  return {
    told,
    tables,
    json: { ...range, changes, findings: after.findings },
    columns,
    records,
    wrong: after.findings,
  };
}

function changeRow({ model, what, of, field, before, after, moves, by, revision }: Change): Cell[] {
  const name = field === null ? what : `${what} ${field}`;
  return [model, name, of, shown(before), shown(after), moves, by, revision];
}
