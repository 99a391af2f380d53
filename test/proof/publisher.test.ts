import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { addMessage, emptyChain } from '../../src/proof/chain.ts';
import { verifyCheckpoint } from '../../src/proof/checkpoint.ts';
import { generateKeyPair } from '../../src/proof/checkpoint-key.ts';
import { startPublisher } from '../../src/proof/publisher.ts';
import { NOW, shortLog } from '../audit/logs.ts';
import { until } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';

/** Starts a publisher that reads the state of a log every 5 ms. `append` adds a message to the log. */
async function publishing(to: string) {
  const log = shortLog();
  const chain = emptyChain(2);
  const key = createPrivateKey(generateKeyPair().privatePem);
  const lines: string[] = [];
  const state = { live: true, looks: 0 };
  const publisher = startPublisher({
    to,
    key,
    logState() {
      state.looks++;
      return state.live ? chain : null;
    },
    now: () => NOW,
    log: { info: (_, message) => lines.push(message), error: (_, message) => lines.push(message) },
    everyMs: 5,
  });
  onTestFinished(() => publisher.close());
  const looked = async () => {
    const before = state.looks;
    await until(() => state.looks > before + 2);
  };
  return { key, state, lines, looked, append: () => addMessage(chain, log[chain.revision]!) };
}

test('publishes a checkpoint when the log has changed and its state is known', async () => {
  const folder = join(await temporaryFolder(), 'kept');
  const { key, state, looked, append, lines } = await publishing(folder);
  await looked();
  append();
  append();
  await looked();
  state.live = false;
  append();
  await looked();
  state.live = true;
  await looked();
  const names = ['2-000000000000.jws', '2-000000000002.jws', '2-000000000003.jws'];
  await until(async () => (await readdir(folder)).length === 3);
  expect(await readdir(folder)).toEqual(names);
  expect(lines).toEqual(names.map(() => 'checkpoint published'));
  const jws = await readFile(join(folder, names[1]!), 'utf8');
  expect(await verifyCheckpoint(jws.trim(), createPublicKey(key))).toMatchObject({
    generation: 2,
    revision: 2,
    models: 2,
  });
});

test('does not replace a checkpoint that exists', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, '2-000000000000.jws');
  await writeFile(path, 'kept');
  const { looked } = await publishing(folder);
  await looked();
  expect(await readFile(path, 'utf8')).toBe('kept');
});

test('logs a checkpoint that could not be published, and tries again', async () => {
  const folder = join(await temporaryFolder(), 'file');
  await writeFile(folder, 'in the way');
  const { looked, lines } = await publishing(folder);
  await looked();
  expect(new Set(lines)).toEqual(new Set(['checkpoint not published; retrying later']));
  expect(lines.length).toBeGreaterThan(1);
});
