import { formatDuration } from '../../audit/duration.ts';
import { type Rollback, rollbackFinder } from '../../audit/reports/rollbacks.ts';
import type { LogSource } from '../../proof/source.ts';
import { type Cell, checkScope, movesOf, type Report, readLog, type Scope } from './report.ts';

/** Reports every rollback, including activations that return to an earlier version. */
export async function rollbackReport(source: LogSource, scope: Scope): Promise<Report> {
  const find = rollbackFinder();
  const rollbacks: Rollback[] = [];
  const each = movesOf(scope, (event) => {
    const found = find(event);
    if (found) rollbacks.push(found);
  });
  const replay = await readLog(source, scope, { each });
  checkScope(replay, scope);
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
  const lines = [
    rollbacks.length === 0 ? 'There were no rollbacks.' : `Rollbacks, explicit and implicit: ${rollbacks.length}`,
  ];
  const tables = [{ titles: [...titles, 'UNDID'], rows: rollbacks.map(rollbackRow) }];
  const { findings } = replay;
  return {
    lines,
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
