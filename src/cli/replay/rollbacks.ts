import { formatDuration } from '../../audit/duration.ts';
import { type Rollback, rollbackFinder } from '../../audit/reports/rollbacks.ts';
import type { LogSource } from '../../proof/source.ts';
import { type Asked, type Cell, checkAsked, movesOf, type Report, readLog } from './report.ts';

/** Every return to what was active before. */
export async function rollbackReport(source: LogSource, asked: Asked): Promise<Report> {
  const find = rollbackFinder();
  const rollbacks: Rollback[] = [];
  const each = movesOf(asked, (event) => {
    const found = find(event);
    if (found) rollbacks.push(found);
  });
  const replay = await readLog(source, asked, { each });
  checkAsked(replay, asked);
  const titles = [
    'REVISION',
    'TIME',
    'MODEL',
    'ENVIRONMENT',
    'BEFORE',
    'AFTER',
    'BY',
    'WHY',
    'ACTIVE FOR',
    'ACTIVATED BY',
  ];
  const columns = [
    ...['revision', 'time', 'model', 'environment', 'implicit', 'before', 'after', 'actor', 'reason', 'overridden'],
    ...['before_seconds', 'before_since', 'before_actor', 'before_reason', 'reverted_revisions', 'reverted_versions'],
  ];
  const told = [
    rollbacks.length === 0 ? 'Nothing was ever rolled back.' : `Returns to what was active before: ${rollbacks.length}`,
  ];
  const tables = [{ titles: [...titles, 'UNDID'], rows: rollbacks.map(rollbackRow) }];
  const { findings } = replay;
  return {
    told,
    tables,
    json: { rollbacks, findings },
    columns,
    records: rollbacks.map(rollbackRecord),
    wrong: findings,
  };
}

function rollbackRow(rollback: Rollback): Cell[] {
  const { revision, time, model, environment, implicit, before, after, actor, reason, reverted } = rollback;
  const undid = reverted.map(({ revision, version }) => `${revision} (${version ?? 'none'})`).join(', ');
  const was = [formatDuration(rollback.before_seconds), rollback.before_began?.actor ?? null];
  const names = [before ?? 'none', after ?? 'none'];
  return [revision, time, model, environment, ...names, actor, reason, ...was, implicit ? 'implicit' : undid];
}

function rollbackRecord({ before_began: began, reverted, ...rollback }: Rollback): Record<string, unknown> {
  return {
    ...rollback,
    before_since: began?.time,
    before_actor: began?.actor,
    before_reason: began?.reason,
    reverted_revisions: reverted.map(({ revision }) => revision).join(';'),
    reverted_versions: reverted.map(({ version }) => version ?? 'none').join(';'),
  };
}
