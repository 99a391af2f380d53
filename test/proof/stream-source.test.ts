import { describe, expect, test } from 'vitest';
import type { Nats } from '../../src/log/connection.ts';
import { beginRestore } from '../../src/log/restoring.ts';
import { ensureStream, STREAM } from '../../src/log/stream.ts';
import type { RawMessage } from '../../src/proof/source.ts';
import { openStreamSource } from '../../src/proof/stream-source.ts';
import { messagesOf } from '../audit/logs.ts';
import { back, startClusterLog, startLog, upTo } from '../log/support.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';

const opened = (nats: Nats) => openStreamSource(nats, async () => {});
const revisionsOf = (messages: RawMessage[]) => messages.map(({ revision }) => revision);

/** Appends messages in parallel, which a registry never does. */
async function fill(nats: Nats, count: number, text = 'body'): Promise<void> {
  const sent = upTo(count).map((i) =>
    nats.js.publish(`registry.models.m${i % 3}`, `${text} ${i}`, { timeout: 30_000 }),
  );
  await Promise.all(sent);
}

async function deleteConsumers({ jsm }: Nats): Promise<void> {
  for await (const { name } of jsm.consumers.list(STREAM)) await jsm.consumers.delete(STREAM, name);
}

/** Reads the first batch, calls `interrupt`, and reads the rest. */
async function interrupted(nats: Nats, interrupt: () => Promise<unknown>): Promise<RawMessage[]> {
  const messages: RawMessage[] = [];
  for await (const batch of (await opened(nats)).batches()) {
    messages.push(...batch);
    if (messages.length === batch.length) await interrupt();
  }
  return messages;
}

describe.each(SERVERS)('a stream of the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('is read to the head that it had when it was opened', async () => {
    const { nats } = await startLog(binary());
    await fill(nats, 1_200);
    const source = await opened(nats);
    expect(source).toMatchObject({ generation: 0, head: 1_200 });
    await fill(nats, 10);
    const messages = await messagesOf(source);
    expect(revisionsOf(messages)).toEqual(upTo(1_200));
    const { seq, subject, data, time } = (await nats.jsm.streams.getMessage(STREAM, { seq: 700 }))!;
    expect(messages[699]).toEqual({ revision: seq, subject, body: Buffer.from(data), stored_at: time });
    expect(await nats.jsm.consumers.list(STREAM).next()).toEqual([]);
  });

  test('is read if it is empty, and refused if it does not exist', async () => {
    const nats = await connected(await startNats(binary()));
    await expect(opened(nats)).rejects.toMatchObject({ code: 'not-found' });
    await ensureStream(nats);
    expect(await messagesOf(await opened(nats))).toEqual([]);
  });

  test('is read with gaps if messages were deleted', async () => {
    const nats = await connected(await startNats(binary()));
    await nats.jsm.streams.add({ name: STREAM, subjects: ['registry.models.*'] });
    await fill(nats, 10);
    for (const seq of [1, 4, 5, 8, 10]) await nats.jsm.streams.deleteMessage(STREAM, seq);
    const source = await opened(nats);
    expect(revisionsOf(await messagesOf(source))).toEqual([2, 3, 6, 7, 9]);
    await fill(nats, 3);
    expect(revisionsOf(await messagesOf(source))).toEqual([2, 3, 6, 7, 9]);
  });

  test('is read to its end if the consumer is deleted or the server restarts in between', async () => {
    const { server, nats } = await startLog(binary());
    await fill(nats, 6_000);
    expect(revisionsOf(await interrupted(nats, () => deleteConsumers(nats)))).toEqual(upTo(6_000));
    const restart = async () => {
      await server.kill();
      await server.start();
      await back(nats);
    };
    expect(revisionsOf(await interrupted(nats, restart))).toEqual(upTo(6_000));
  });

  test('is not read further if it was replaced', async () => {
    const { nats } = await startLog(binary());
    await fill(nats, 6_000);
    const replaced = interrupted(nats, async () => {
      await nats.jsm.streams.delete(STREAM);
      await ensureStream(nats);
      await fill(nats, 6_000, 'other');
    });
    await expect(replaced).rejects.toMatchObject({ code: 'conflict' });
  });

  test('is refused during a restore', async () => {
    const nats = await connected(await startNats(binary()));
    await beginRestore(nats);
    await expect(opened(nats)).rejects.toMatchObject({ code: 'log-unavailable' });
  });
});

describe.each(SERVERS)('a cluster of three $name servers', { timeout: 120_000 }, ({ binary }) => {
  test('is read to its end while the node that hosts the consumer stays dead', async () => {
    const { servers, nats } = await startClusterLog(binary());
    await fill(nats, 6_000);
    const reader = await connected(servers[0]!);
    // Consumers are placed at random: repeats until one is on a node that its reader is not connected to.
    for (let killed = false; !killed; ) {
      const messages = await interrupted(reader, async () => {
        const [consumer] = await nats.jsm.consumers.list(STREAM).next();
        killed = consumer?.cluster?.leader === 'n2';
        if (killed) await servers[2]!.kill();
      });
      expect(revisionsOf(messages)).toEqual(upTo(6_000));
    }
  });
});
