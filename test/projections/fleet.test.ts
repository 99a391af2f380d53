import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { LoaderReport } from '../../src/domain/fleet.ts';
import type { ReportListener } from '../../src/log/report-watch.ts';
import { startFleet } from '../../src/projections/fleet.ts';
import { reportOf } from '../support/loaders.ts';

const START = Date.parse('2026-03-03T14:05:00Z');

/** A fleet whose clock and reports the test controls. */
function fleetAt(limit?: number, limitOfModel?: number) {
  let now = START;
  let listener: ReportListener | undefined;
  const lines: { level: number; msg: string }[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const watch = (given: ReportListener) => {
    listener = given;
    return { close: async () => {} };
  };
  const reports = { maxAgeMs: 90_000, put: async () => {}, watch };
  const fleet = startFleet({
    reports,
    log,
    now: () => now,
    ...(limit && { limit }),
    ...(limitOfModel && { limitOfModel }),
  });
  return {
    lines,
    names: (model = 'fraud') => fleet.of(model).map(({ instance }) => instance),
    of: fleet.of,
    report: (model: string, instance: string) => fleet.report(model, instance, reportOf()),
    state: (...args: Parameters<ReportListener['state']>) => listener!.state(...args),
    pass: (seconds: number) => {
      now += seconds * 1000;
    },
    heard(
      instance: string,
      report: LoaderReport | null = reportOf(),
      more: { replayed?: boolean; at?: Date; model?: string } = {},
    ) {
      listener!.report({ model: 'fraud', instance, report, at: new Date(now), replayed: false, ...more });
    },
  };
}

test('shows the last report of each loader of a model', () => {
  const { heard, of } = fleetAt();
  heard('a', reportOf({ state: 'fetching' }));
  heard('a', reportOf({ state: 'ready' }));
  heard('b');
  expect(of('fraud')).toEqual([
    { model: 'fraud', instance: 'a', reported_at: '2026-03-03T14:05:00.000Z', ...reportOf({ state: 'ready' }) },
    { model: 'fraud', instance: 'b', reported_at: '2026-03-03T14:05:00.000Z', ...reportOf() },
  ]);
  expect(of('churn')).toEqual([]);
});

test('removes a loader that has stopped', () => {
  const { heard, names } = fleetAt();
  heard('a');
  heard('a', null);
  heard('b', null);
  expect(names()).toEqual([]);
});

test('removes a loader that was silent for 90 seconds', () => {
  const { heard, names, pass } = fleetAt();
  heard('a');
  pass(60);
  heard('b');
  pass(29.999);
  expect(names()).toEqual(['a', 'b']);
  pass(0.001);
  expect(names()).toEqual(['b']);
  heard('b');
  pass(89);
  expect(names()).toEqual(['b']);
});

test('counts the silence from the arrival of a report, not from its NATS timestamp', () => {
  const { heard, names, pass } = fleetAt();
  heard('a', reportOf(), { at: new Date(START - 3600_000) });
  pass(89);
  expect(names()).toEqual(['a']);
});

test('counts the silence from the NATS timestamp if the report is older than the watch', () => {
  const { heard, names, pass } = fleetAt();
  heard('old', reportOf(), { replayed: true, at: new Date(START - 100_000) });
  heard('a', reportOf(), { replayed: true, at: new Date(START - 60_000) });
  heard('ahead', reportOf(), { replayed: true, at: new Date(START + 3600_000) });
  expect(names()).toEqual(['a', 'ahead']);
  pass(30);
  expect(names()).toEqual(['ahead']);
  pass(60);
  expect(names()).toEqual([]);
});

test('ignores loaders beyond the limit, logs it once, and accepts others when one is removed', () => {
  const { heard, names, lines, pass } = fleetAt(2);
  heard('a');
  pass(60);
  heard('b');
  heard('c');
  heard('d');
  heard('b', reportOf({ state: 'ready' }));
  expect(names()).toEqual(['a', 'b']);
  expect(lines).toMatchObject([{ level: 40, msg: expect.stringContaining('more loaders report') }]);
  pass(30);
  heard('c');
  expect(names()).toEqual(['b', 'c']);
});

test('logs when reports stop arriving, and when they arrive again', () => {
  const { state, lines } = fleetAt();
  state('live');
  state('cut-off', new Error('gone'));
  state('cut-off', new Error('gone still'));
  state('live');
  expect(lines.map(({ level }) => level)).toEqual([30, 40, 30]);
});

test('refuses loaders beyond the limit of a model, and accepts those of other models', async () => {
  const { heard, report, pass } = fleetAt(undefined, 2);
  for (const instance of ['a', 'b']) heard(instance);
  await report('fraud', 'b');
  await expect(report('fraud', 'c')).rejects.toMatchObject({ code: 'too-many-requests', fields: { retry_after: 90 } });
  await report('churn', 'c');
  heard('a', null);
  await report('fraud', 'c');
  heard('c');
  pass(90);
  await report('fraud', 'd');
});

test('ignores loaders beyond the limit of a model, and logs it once, also if other models report in between', () => {
  const { heard, names, lines } = fleetAt(undefined, 2);
  for (const instance of ['a', 'b', 'c']) heard(instance);
  for (let i = 0; i < 5; i++) {
    heard(`other-${i}`, reportOf(), { model: `model-${i}` });
    heard('c');
  }
  expect(names()).toEqual(['a', 'b']);
  expect(names('model-4')).toEqual(['other-4']);
  expect(lines.filter(({ msg }) => msg.includes('ignored'))).toHaveLength(1);
});
