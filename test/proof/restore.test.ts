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

test('an export may be restored if it is whole, also with what no model can follow', async () => {
  const chain = await verifyExport(await exportOf(sourceOf([...log, foreign(8, 'hello')])));
  expect([chain.revision, [...chain.breaks.keys()]]).toEqual([8, ['fraud']]);
});

test.each([
  ['in the middle', sourceOf(log.toSpliced(2, 2)), '3 to 4'],
  ['at the end', sourceOf(log.slice(0, 5), 7), '6 to 7'],
])('one that lacks revisions %s may not', async (_, source, missing) => {
  await expect(verifyExport(await exportOf(source))).rejects.toThrow(`has no revisions ${missing}`);
});

test('a signature is asked for, and held against what the file says', async () => {
  const signed = await exportOf(sourceOf(log), createPrivateKey(privatePem));
  expect(await verifyExport(signed, publicKey)).toMatchObject({ revision: 7 });
  const other = await exportOf(sourceOf(log), createPrivateKey(generateKeyPair().privatePem));
  await expect(verifyExport(other, publicKey)).rejects.toThrow(/ is not to be believed: .*[^.]\.$/);
  await expect(verifyExport(await exportOf(sourceOf(log)), publicKey)).rejects.toThrow('is not signed');
  // Another body under the old signature, with a digest that fits the file.
  const text = (await exported(sourceOf(log), createPrivateKey(privatePem))).toString();
  const [before = ''] = text.replace('"actor\\":\\"', '"actor\\":\\"x').split(/(?<="digest":")[^"]+"}\n$/);
  const other_body = `${before}sha256:${createHash('sha256').update(before).digest('hex')}"}\n`;
  const open = (await exportFile()).open(Buffer.from(other_body));
  await expect(open.then((file) => verifyExport(file, publicKey))).rejects.toThrow('checkpoint');
  // A new ending with an old signature.
  const ending = signed.ending();
  const forged = { ...signed, ending: () => ({ ...ending, checkpoint: { ...ending.checkpoint, revision: 6 } }) };
  await expect(verifyExport(forged, publicKey)).rejects.toThrow('is not what was signed');
});
