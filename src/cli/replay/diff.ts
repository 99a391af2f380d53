import type { Moment } from '../../audit/moment.ts';
import { type Change, changesBetween, moveCounter } from '../../audit/reports/diff.ts';
import type { LogSource } from '../../proof/source.ts';
import { WrongUsage } from '../helpers/failure.ts';
import { type Cell, checkScope, type Report, readLog, type Scope, shown } from './report.ts';

/** Reports what changed between two moments. @throws {WrongUsage} if the second is the earlier one */
export async function diffReport(source: LogSource, scope: Scope, from: Moment, to: Moment): Promise<Report> {
  const before = await readLog(source, scope, { moment: from });
  const moves = moveCounter();
  const after = await readLog(source, scope, {
    moment: to,
    each: (event) => event.revision > (before.models.get(event.model)?.revision ?? 0) && moves.count(event),
  });
  if (after.revision < before.revision) throw new WrongUsage('The first moment is later than the second. Swap them.');
  checkScope(after, scope);
  const changes = changesBetween(before, after, moves.of, scope.environment);
  const range = { from: before.revision, to: after.revision };
  const lines = [
    changes.length === 0
      ? `Nothing changed from revision ${range.from} to ${range.to}.`
      : `From revision ${range.from} to ${range.to}:`,
  ];
  const titles = ['MODEL', 'WHAT', 'OF', 'BEFORE', 'AFTER', 'MOVES', 'BY', 'REVISION'];
  const columns = ['model', 'what', 'of', 'field', 'before', 'after', 'moves', 'by', 'revision'];
  const records = changes.map((change) => ({ ...change }));
  const tables = [{ titles, rows: changes.map(changeRow) }];
  return {
    lines,
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
