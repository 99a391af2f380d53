import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { append } from '../../src/log/append.ts';
import { STREAM } from '../../src/log/stream.ts';
import { type Projector, startProjector } from '../../src/projections/projector.ts';
import { IN_MEMORY } from '../../src/projections/read-model/file.ts';
import { type Log, notesEvent, publishedEvent, reconnect, startLog, until } from '../log/support.ts';
import { SERVERS } from '../support/nats.ts';

describe.each(SERVERS)('the projector on the $name server', ({ binary }) => {
  test('is ready at the head of the log, and reaches an appended event', async () => {
    const { log, projector } = await projected(binary());
    await projector.ready();
    expect(projector.state()).toBe('live');
    const { revision } = await append(log.nats, 'fraud', 0, publishedEvent('fraud', '1.0.0'));
    await projector.reached(revision);
    expect(projector.readModel.model('fraud').record('1.0.0') !== null).toBe(true);
    expect(projector.gaps()).toEqual([]);
  });

  test('reaches a message that freezes its model, and follows the other models', async () => {
    const { log, projector } = await projected(binary());
    await append(log.nats, 'fraud', 0, notesEvent('fraud'));
    const { revision } = await append(log.nats, 'churn', 0, publishedEvent('churn', '1.0.0'));
    await projector.reached(revision);
    expect(projector.readModel.frozen('fraud')).toMatchObject({ revision: 1 });
    expect(projector.readModel.frozen('churn')).toBeNull();
  });

  test('calls the other listeners if one fails', async () => {
    const { log, projector } = await projected(binary());
    const heard: (number | undefined)[] = [];
    projector.onEvent(() => {
      throw new Error('a bug');
    });
    projector.onEvent((applied) => heard.push(applied?.revision));
    await append(log.nats, 'fraud', 0, publishedEvent('fraud', '1.0.0'));
    await projector.reached(1);
    await append(log.nats, 'churn', 0, publishedEvent('churn', '1.0.0'));
    await projector.reached(2);
    expect(heard).toEqual([1, 2]);
    expect(projector.state()).toBe('live');
  });

  test('is not complete until a restored log is read to its end', async () => {
    const { log, projector } = await projected(binary());
    await append(log.nats, 'fraud', 0, publishedEvent('fraud', '1.0.0'));
    await projector.reached(1);
    const complete: boolean[] = [];
    projector.onEvent(() => complete.push(projector.complete()));
    const { config } = await log.nats.jsm.streams.info(STREAM);
    const metadata = { application: 'signalbox', generation: '1' };
    await log.nats.jsm.streams.update(STREAM, { ...config, metadata });
    expect(projector.complete()).toBe(true);
    const noticed = projector.until(({ generation }) => generation === 1);
    await reconnect(log.nats);
    expect(await noticed).toBe(true);
    await until(() => projector.readModel.position.generation === 1 && projector.complete());
    expect(projector.readModel.model('fraud').revision > 0).toBe(true);
    expect(complete).toEqual([false, false]); // the restart, and the event
  });

  test('keeps the read model while NATS is unavailable', async () => {
    const { log, projector } = await projected(binary());
    await append(log.nats, 'fraud', 0, publishedEvent('fraud', '1.0.0'));
    await projector.reached(1);
    await log.server.kill();
    await until(() => projector.state() === 'cut-off');
    expect(projector.readModel.model('fraud').revision > 0).toBe(true);
    await log.server.start();
    await until(() => projector.state() === 'live');
  });
});

test('an event that is not read back in time has an unknown outcome', async () => {
  const { projector } = await projected(SERVERS[0]!.binary());
  await expect(projector.reached(7)).rejects.toMatchObject({ code: 'outcome-unknown' });
});

async function projected(binary: string): Promise<{ log: Log; projector: Projector }> {
  const log = await startLog(binary);
  const projector = await startProjector({ nats: log.nats, path: IN_MEMORY, log: pino({ level: 'silent' }) });
  onTestFinished(() => projector.close());
  return { log, projector };
}
