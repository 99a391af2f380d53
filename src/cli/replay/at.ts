import type { Moment } from '../../audit/moment.ts';
import { type EnvironmentAt, type ModelAt, registryAt } from '../../audit/reports/at.ts';
import type { LogSource } from '../../proof/source.ts';
import { type Cell, checkScope, type Report, readLog, type Scope } from './report.ts';

/** Reports the versions, and what was active, at a moment. */
export async function atReport(source: LogSource, scope: Scope, moment: Moment): Promise<Report> {
  const replay = await readLog(source, scope, { moment });
  const { revision, findings } = replay;
  checkScope(replay, scope);
  const models = registryAt(replay, scope.environment);
  const records = models.flatMap((model) =>
    Object.entries(model.environments).map(([environment, at]) => environmentRecord(model, environment, at)),
  );
  const titles = ['MODEL', 'LATEST', 'ENVIRONMENT', 'ACTIVE', 'SINCE', 'BY', 'WHY', 'REVISION'];
  const columns = ['model', 'latest', 'environment', 'version', 'since', 'by', 'reason', 'revision'];
  const tables = [{ titles, rows: records.map((record) => rowOf(record, columns)) }];
  if (scope.models) tables.push(...models.map(versionTable));
  const lines = [models.length === 0 ? 'There are no events up to this moment.' : `As of revision ${revision}:`];
  return { lines, tables, json: { revision, findings, models }, columns, records, wrong: findings };
}

function environmentRecord({ model, latest }: ModelAt, environment: string, at: EnvironmentAt) {
  return { model, latest, environment, ...at };
}

function versionTable({ model, versions }: ModelAt): Report['tables'][number] {
  const rows = versions.map(({ version, status, active_in, published_at, published_by, notes }) => {
    return [version, status, active_in.join(',') || null, published_at, published_by, notes.slice(0, 60)];
  });
  return { titles: [`VERSION OF ${model}`, 'STATUS', 'ACTIVE IN', 'PUBLISHED', 'BY', 'NOTES'], rows };
}

function rowOf(record: Record<string, unknown>, columns: string[]): Cell[] {
  return columns.map((column) => record[column] as Cell);
}
