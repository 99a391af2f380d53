import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { month } from '../../examples/audit/month.ts';
import { parseMoment } from '../../src/audit/moment.ts';
import { replayLog } from '../../src/audit/replay.ts';
import { changesBetween, moveCounter } from '../../src/audit/reports/diff.ts';
import { type Rollback, rollbackFinder } from '../../src/audit/reports/rollbacks.ts';
import { secondsOf, type Tenure, tenureKeeper } from '../../src/audit/reports/tenure.ts';
import { isMove } from '../../src/audit/rules/event.ts';
import { modelOf } from '../../src/log/stream.ts';
import { exportLog } from '../../src/proof/export.ts';
import { sourceOf } from '../support/logbook.ts';
import { newReadModel } from '../support/read-model.ts';
import { folded, replayed } from './support.ts';

const { messages } = month();
const source = sourceOf(messages);

test('the exported file is what the story generates', async () => {
  const written: Buffer[] = [];
  const write = async (bytes: Buffer) => void written.push(bytes);
  await exportLog(source, { now: new Date('2026-04-01T00:00:00.000Z'), write });
  const file = await readFile(join(import.meta.dirname, '../../examples/audit/month.jsonl'));
  expect(file.equals(Buffer.concat(written))).toBe(true);
});

test('the replay agrees with the registry’s fold at every revision', async () => {
  const readModel = newReadModel();
  for (const { revision, subject, body } of messages) {
    readModel.fold({ revision, model: modelOf(subject), body });
    const replay = await replayLog(source, { moment: { revision } });
    expect(replay.findings).toEqual([]);
    expect(replayed(replay)).toEqual(folded(readModel));
  }
});

async function rollbacks(): Promise<Rollback[]> {
  const found: Rollback[] = [];
  const find = rollbackFinder();
  await replayLog(source, {
    each: (event) => {
      const rollback = isMove(event) && find(event);
      if (rollback) found.push(rollback);
    },
  });
  return found;
}

test('finds every return to an earlier version, and nothing else', async () => {
  const [MINUTE, HOUR] = [60, 3600];
  const rows = (await rollbacks()).map((it) => {
    const undone = it.reverted.map(({ revision, version }) => [revision, version]);
    return [it.revision, it.implicit, it.before, it.after, it.actor, it.before_seconds, it.before_began!.actor, undone];
  });
  expect(rows).toEqual([
    [13, false, '1.1.0', '1.0.0', 'ben', 5 * HOUR + 10 * MINUTE, 'ana', [[12, '1.1.0']]],
    [30, false, '1.4.0', '1.3.0', 'ana', 3 * MINUTE, 'ana', [[29, '1.4.0']]],
    [32, false, null, '1.2.1', 'ben', 45 * MINUTE, 'ben', [[31, null]]],
    [38, true, '1.3.0', '1.2.1', 'dora', 75 * MINUTE, 'dora', []],
    [
      39,
      false,
      '1.2.1',
      '1.5.0',
      'ana',
      6 * HOUR + 15 * MINUTE,
      'dora',
      [
        [38, '1.2.1'],
        [37, '1.3.0'],
      ],
    ],
    [49, true, '0.4.0', '0.3.0', 'cem', 6 * HOUR + 30 * MINUTE, 'cem', []],
    [52, false, '1.6.1', '1.5.0', 'ben', 35 * MINUTE, 'ana', [[51, '1.6.1']]],
    [
      65,
      false,
      '1.10.0',
      '1.7.0',
      'ben',
      4 * HOUR + 9 * MINUTE,
      'ana',
      [
        [64, '1.10.0'],
        [63, '1.9.0'],
        [62, '1.8.0'],
      ],
    ],
    [89, false, '0.8.0', '0.6.0', 'cem', 45 * MINUTE, 'cem', [[88, '0.8.0']]],
    [95, false, '2.0.0', '1.11.0', 'ben', 40 * MINUTE, 'ana', [[94, '2.0.0']]],
  ]);
});

test('a rollback has the total active time of each reverted move, and whether it was overridden', async () => {
  const all = await rollbacks();
  const partner = all.find(({ revision }) => revision === 39)!;
  expect(partner.reverted.map(({ actor, active_seconds }) => [actor, active_seconds])).toEqual([
    ['dora', 6 * 3600 + 15 * 60],
    ['dora', 75 * 60],
  ]);
  expect(all.filter(({ overridden }) => overridden).map(({ revision }) => revision)).toEqual([52]);
});

test('tenures follow each other without a gap, and the last ones have no end', async () => {
  const tenures: Tenure[] = [];
  const keep = tenureKeeper();
  await replayLog(source, {
    each: (event) => {
      if (isMove(event)) tenures.push(keep(event).began);
    },
  });
  const production = tenures.filter(({ model, environment }) => model === 'fraud' && environment === 'production');
  for (const [i, tenure] of production.entries()) expect(tenure.ended).toEqual(production[i + 1]?.began ?? null);
  const bad = production.find(({ version }) => version === '1.1.0')!;
  expect([secondsOf(bad, 0), bad.ended!.reason]).toEqual([18_600, 'recall dropped on the new traffic']);
  expect(tenures.filter(({ ended }) => ended === null)).toHaveLength(5);
});

test('finds the changes between two moments', async () => {
  const [from, to] = [parseMoment('2026-03-05')!, parseMoment('2026-03-10')!];
  const before = await replayLog(source, { moment: from });
  const moves = moveCounter();
  const each = (event: Parameters<typeof moves.count>[0]) => {
    if (event.revision > before.models.get(event.model)!.revision) moves.count(event);
  };
  const after = await replayLog(source, { moment: to, each });
  const changes = changesBetween(before, after, moves.of).filter(({ model }) => model === 'fraud');
  const rows = changes.map((it) => [it.what, it.of, it.field, it.before, it.after, it.moves]);
  expect(rows.filter(([what]) => what === 'version').map(([, of]) => of)).toEqual(['1.2.2', '1.3.0', '1.4.0', '1.5.0']);
  expect(rows).toContainEqual(['status', '1.1.0', null, 'ready', 'archived', null]);
  expect(rows).toContainEqual(['active', 'production', null, '1.2.1', '1.5.0', 3]);
  expect(rows).toContainEqual(['manifest', 'production', 'metrics.auc', 0.919, 0.924, null]);
  const files = rows.filter(([, of, field]) => of === 'production' && field === 'artifacts/model.joblib');
  expect(files).toHaveLength(1);
  expect(changesBetween(before, before, () => 0)).toEqual([]);
});
