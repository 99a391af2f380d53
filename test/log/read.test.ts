import { describe, expect, test } from 'vitest';
import { append } from '../../src/log/append.ts';
import { hashOf, readAt, readHash, readNext } from '../../src/log/read.ts';
import { readHead } from '../../src/log/stream.ts';
import { SERVERS } from '../support/nats.ts';
import { body, startLog } from './support.ts';

describe.each(SERVERS)('reading a log on the $name server', ({ binary }) => {
  test('finds messages by revision, and the next message of a model', async () => {
    const { nats } = await startLog(binary());
    expect(await readHead(nats)).toEqual({ revision: 0, generation: 0, restoring: false });
    await append(nats, 'fraud', 0, body('a'));
    await append(nats, 'churn', 0, body('b'));
    await append(nats, 'fraud', 1, body('c'));
    expect(await readHead(nats)).toEqual({ revision: 3, generation: 0, restoring: false });

    expect(await readAt(nats, 2)).toEqual({ revision: 2, model: 'churn', body: bytes('b') });
    expect(await readAt(nats, 4)).toBeNull();

    expect(await readNext(nats, 'fraud', 0)).toEqual({ revision: 1, model: 'fraud', body: bytes('a') });
    expect(await readNext(nats, 'fraud', 1)).toEqual({ revision: 3, model: 'fraud', body: bytes('c') });
    expect(await readNext(nats, 'fraud', 3)).toBeNull();
    expect(await readNext(nats, 'unknown', 0)).toBeNull();

    expect(await readHash(nats, 2)).toBe(hashOf(body('b')));
    expect(await readHash(nats, 4)).toBeNull();
  });
});

function bytes(text: string): Uint8Array {
  return expect.toSatisfy((actual: Uint8Array) => Buffer.from(actual).toString() === text) as Uint8Array;
}
