import { appendFileSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { append } from '../../src/log/append.ts';
import type { Nats } from '../../src/log/connection.ts';
import { STREAM } from '../../src/log/stream.ts';
import { type Projector, startProjector } from '../../src/projections/projector.ts';
import { IN_MEMORY } from '../../src/projections/read-model/file.ts';
import { canMount, smallDisk } from '../loader/disk.ts';
import { type Log, notesEvent, publishedEvent, reconnect, startLog, until } from '../log/support.ts';
import { temporaryFolder } from '../support/folder.ts';
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

  test('follows the log after a listener to its state fails', async () => {
    const { log, projector } = await projected(binary());
    await projector.ready();
    projector.onState(() => {
      throw new Error('a bug');
    });
    await reconnect(log.nats);
    await append(log.nats, 'fraud', 0, publishedEvent('fraud', '1.0.0'));
    await projector.reached(1);
    await until(() => projector.state() === 'live');
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

test('a file whose damage is found while it is opened is made anew', async () => {
  const { log, path, projector, start } = await stored();
  await projector.close();
  overwritePage(path, 2); // of the position
  const second = await start();
  await second.ready();
  expect(second.readModel.model('fraud').revision).toBe(1);
  await append(log.nats, 'churn', 0, publishedEvent('churn', '1.0.0'));
  await second.reached(2);
});

test('damage that many requests find is repaired once', async () => {
  const { path, projector } = await stored();
  const { readModel } = projector;
  readModel.db.exec('PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory');
  for (let page = 2; page < 40; page++) overwritePage(path, page);
  const before = readModel.opening;
  for (let i = 0; i < 10; i++) expect(() => readModel.model(`model-${i}`)).toThrow('made anew');
  await setImmediate();
  await until(() => projector.complete());
  expect(readModel.opening - before).toBe(1);
  expect(readModel.model('fraud').revision).toBe(1);
});

test.skipIf(!canMount)('a start ends on a full disk, also where the log arrives slowly', async () => {
  const log = await startLog(SERVERS[0]!.binary());
  for (const model of ['fraud', 'churn']) await append(log.nats, model, 0, publishedEvent(model, '1.0.0'));
  const disk = await smallDisk(1_000);
  const projector = await started({ ...log, nats: slow(log.nats) }, join(disk, 'read-model.db'));
  expect(() => {
    for (;;) appendFileSync(join(disk, 'filler'), Buffer.alloc(4096));
  }).toThrow('ENOSPC');
  await projector.ready();
  expect(projector.readModel.position.revision).toBe(2);
  expect(projector.readModel.db.path).toBe(IN_MEMORY);
});

/** Delivers the second message of the log so late that the first one has a transaction of its own. */
function slow(nats: Nats): Nats {
  const { consumers } = nats.js;
  const get = async (...given: Parameters<typeof consumers.get>) => {
    const consumer = await consumers.get(...given);
    const consume = consumer.consume.bind(consumer);
    consumer.consume = ({ callback, ...options } = {}) =>
      consume({ ...options, callback: (m) => void setTimeout(() => callback!(m), m.seq > 1 ? 1_500 : 0) });
    return consumer;
  };
  const js = Object.create(nats.js, { consumers: { value: Object.create(consumers, { get: { value: get } }) } });
  return { ...nats, js };
}

async function projected(binary: string): Promise<{ log: Log; projector: Projector }> {
  const log = await startLog(binary);
  return { log, projector: await started(log, IN_MEMORY) };
}

async function started({ nats }: Log, path: string): Promise<Projector> {
  const projector = await startProjector({ nats, path, log: pino({ level: 'silent' }) });
  onTestFinished(() => projector.close());
  return projector;
}

/** A projector whose read model is in a file, and has one event. */
async function stored(): Promise<{ log: Log; path: string; projector: Projector; start(): Promise<Projector> }> {
  const log = await startLog(SERVERS[0]!.binary());
  const path = join(await temporaryFolder(), 'read-model.db');
  const start = () => started(log, path);
  const projector = await start();
  await append(log.nats, 'fraud', 0, publishedEvent('fraud', '1.0.0'));
  await projector.reached(1);
  return { log, path, projector, start };
}

function overwritePage(path: string, page: number): void {
  writeSync(openSync(path, 'r+'), Buffer.alloc(4096, 0xa5), 0, 4096, 4096 * (page - 1));
}
