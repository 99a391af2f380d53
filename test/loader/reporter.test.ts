import { describe, expect, it, onTestFinished } from 'vitest';
import { Problem } from '../../src/domain/errors.ts';
import type { LoaderReport } from '../../src/domain/fleet.ts';
import { startReporter } from '../../src/loader/reporter.ts';
import { until } from '../log/support.ts';
import { reportOf, targetOf } from '../support/loaders.ts';
import { silent } from './support.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A reporter whose reports the test answers. */
function reporting(everyMs?: number) {
  const sent: { report: LoaderReport; signal: AbortSignal; answer: PromiseWithResolvers<void> }[] = [];
  const warnings: string[] = [];
  let now = reportOf();
  const reporter = startReporter(
    () => now,
    (report, signal) => {
      const answer = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => answer.reject(signal.reason));
      sent.push({ report, signal, answer });
      return answer.promise;
    },
    { ...silent, warn: (_, message) => warnings.push(message) },
    ...(everyMs === undefined ? [] : [{ everyMs }]),
  );
  onTestFinished(async () => {
    const closing = reporter.close();
    await turn();
    for (const { answer } of sent) answer.resolve();
    await closing;
  });
  return {
    reporter,
    warnings,
    sent: (count: number) => until(() => sent.length >= count).then(() => sent[count - 1]!),
    count: () => sent.length,
    become(change: Partial<LoaderReport>) {
      now = { ...now, ...change };
      reporter.changed();
    },
  };
}

describe('a reporter', () => {
  it('reports at the start and at every change, one at a time and always the newest', async () => {
    const { sent, count, become } = reporting();
    const first = await sent(1);
    expect(first.report.state).toBe('starting');
    become({ state: 'fetching', target: targetOf('1.0.0', 3) });
    become({ state: 'loading' });
    await turn();
    expect(count()).toBe(1);
    become({ state: 'ready' });
    first.answer.resolve();
    const second = await sent(2);
    expect(second.report).toMatchObject({ state: 'ready', target: { version: '1.0.0' } });
    second.answer.resolve();
    await turn();
    expect(count()).toBe(2);
    become({ state: 'failed' });
    expect((await sent(3)).report.state).toBe('failed');
  });

  it('reports regularly without a change', async () => {
    const { sent } = reporting(20);
    for (const number of [1, 2, 3]) (await sent(number)).answer.resolve();
    await sent(4);
  });

  it('continues after failed reports, and logs the first of them', async () => {
    const { sent, warnings, become } = reporting(20);
    for (const number of [1, 2, 3]) (await sent(number)).answer.reject(new Error('no route'));
    (await sent(4)).answer.resolve();
    expect(warnings).toHaveLength(1);
    (await sent(5)).answer.reject(new Error('no route'));
    await sent(6);
    expect(warnings).toHaveLength(2);
    become({ state: 'ready' });
  });

  it('stops if it may not report', async () => {
    const { sent, count, become, warnings } = reporting(1);
    (await sent(1)).answer.reject(new Problem('forbidden', 'Reporting is not for you.'));
    await until(() => warnings.length === 1);
    become({ state: 'ready' });
    await turn();
    expect(count()).toBe(1);
  });

  it('reports the state stopped last, and aborts a report that is being sent', async () => {
    const { reporter, sent, become } = reporting();
    const first = await sent(1);
    become({ state: 'stopped' });
    const closing = reporter.close();
    const last = await sent(2);
    expect([first.signal.aborted, last.report.state]).toEqual([true, 'stopped']);
    last.answer.resolve();
    await closing;
  });

  it('ends even if the last report fails', async () => {
    const { reporter, sent } = reporting();
    (await sent(1)).answer.resolve();
    const closing = reporter.close();
    (await sent(2)).answer.reject(new Error('no route'));
    await closing;
  });
});
