import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { expect, test } from 'vitest';
import { generateKeyPair } from '../../src/proof/checkpoint-key.ts';
import { verifyExport } from '../../src/proof/restore.ts';
import type { LogSource } from '../../src/proof/source.ts';
import { exported, exportFile, foreign, shortLog } from '../audit/logs.ts';
import { sourceOf } from '../support/logbook.ts';

const log = shortLog();
const { privatePem, publicPem } = generateKeyPair();
const publicKey = createPublicKey(publicPem);

async function exportOf(source: LogSource, key?: KeyObject) {
  return (await exportFile()).open(await exported(source, key));
}

test('accepts an export without gaps, also with messages that are not events', async () => {
  const chain = await verifyExport(await exportOf(sourceOf([...log, foreign(8, 'hello')])));
  expect([chain.revision, [...chain.breaks.keys()]]).toEqual([8, ['fraud']]);
});

test.each([
  ['in the middle', sourceOf(log.toSpliced(2, 2)), '3 to 4'],
  ['at the end', sourceOf(log.slice(0, 5), 7), '6 to 7'],
])('refuses an export that lacks revisions %s', async (_, source, missing) => {
  await expect(verifyExport(await exportOf(source))).rejects.toThrow(`lacks revisions ${missing}`);
});

test('with a key, refuses an export without a valid signature of its checkpoint', async () => {
  const signed = await exportOf(sourceOf(log), createPrivateKey(privatePem));
  expect(await verifyExport(signed, publicKey)).toMatchObject({ revision: 7 });
  const other = await exportOf(sourceOf(log), createPrivateKey(generateKeyPair().privatePem));
  await expect(verifyExport(other, publicKey)).rejects.toThrow(/^The signature of .* was refused: .*[^.]\.$/);
  await expect(verifyExport(await exportOf(sourceOf(log)), publicKey)).rejects.toThrow('is not signed');
  // An altered body under the old signature, with a digest that fits the file.
  const text = (await exported(sourceOf(log), createPrivateKey(privatePem))).toString();
  const [before = ''] = text.replace('"actor\\":\\"', '"actor\\":\\"x').split(/(?<="digest":")[^"]+"}\n$/);
  const edited = `${before}sha256:${createHash('sha256').update(before).digest('hex')}"}\n`;
  const open = (await exportFile()).open(Buffer.from(edited));
  await expect(open.then((file) => verifyExport(file, publicKey))).rejects.toThrow('checkpoint');
  // A new last line with an old signature.
  const ending = signed.ending();
  const forged = { ...signed, ending: () => ({ ...ending, checkpoint: { ...ending.checkpoint, revision: 6 } }) };
  await expect(verifyExport(forged, publicKey)).rejects.toThrow('differs from its signed checkpoint');
});
