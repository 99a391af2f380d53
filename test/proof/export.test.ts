import { createHash, createPrivateKey } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { generateKeyPair } from '../../src/proof/checkpoint-key.ts';
import { MAX_LINE_BYTES } from '../../src/proof/export-line.ts';
import { HistoryBroken } from '../../src/proof/source.ts';
import { exported, exportFile, foreign, messagesOf, NOW, shortLog } from '../audit/logs.ts';
import { sourceOf } from '../support/logbook.ts';

describe('an exported log', () => {
  test('has the exact bytes of every body', async () => {
    const bodies = ['', '\uFEFF{}', 'a\u0000\n"\\\u2028', Buffer.from([0xff, 0xfe, 0x22]), Buffer.alloc(500_000, 1)];
    const messages = [...shortLog(), ...bodies.map((body, i) => foreign(8 + i, body, 'someone'))];
    const file = await exportFile();
    expect(await file.read(await exported(sourceOf(messages)))).toEqual(messages);
  });

  test('has a header in the first line and a checkpoint in the last', async () => {
    const bytes = await exported(sourceOf(shortLog()));
    const lines = bytes.toString().trimEnd().split('\n');
    const body = shortLog()[0]!.body;
    expect(JSON.parse(lines[0]!)).toEqual({ signalbox_log: 1, generation: 0, stream: 'REGISTRY', head: 7 });
    expect(JSON.parse(lines[1]!)).toEqual({
      revision: 1,
      subject: 'registry.models.fraud',
      stored_at: '2026-03-03T00:00:00.000Z',
      body: body.toString(),
    });
    const [before] = bytes.toString().split(/(?<="digest":")[^"]+"}\n$/);
    const epoch = createHash('sha256').update(body).digest('hex');
    expect(JSON.parse(lines.at(-1)!)).toEqual({
      checkpoint: expect.objectContaining({
        format: 1,
        generation: 0,
        epoch,
        revision: 7,
        models: 2,
        time: NOW.toISOString(),
      }),
      digest: `sha256:${createHash('sha256').update(before!).digest('hex')}`,
    });
  });

  test('can be of an empty log', async () => {
    const file = await exportFile();
    expect(await file.read(await exported(sourceOf([])))).toEqual([]);
  });

  test('can be read twice', async () => {
    const file = await (await exportFile()).open(await exported(sourceOf(shortLog())));
    expect(await messagesOf(file)).toEqual(await messagesOf(file));
    expect(file.ending().checkpoint.revision).toBe(7);
  });

  test('has the gaps of the log', async () => {
    const messages = shortLog().toSpliced(2, 1);
    expect(await (await exportFile()).read(await exported(sourceOf(messages)))).toEqual(messages);
  });
});

describe('the reader', { timeout: 120_000 }, () => {
  const { privatePem } = generateKeyPair();
  test.each([
    ['an export', undefined],
    ['a signed export', createPrivateKey(privatePem)],
  ])('refuses %s if any of its bytes is changed', async (_, key) => {
    const file = await exportFile();
    const bytes = await exported(sourceOf(shortLog().slice(0, 3)), key);
    for (let i = 0; i < bytes.length; i++) {
      const flipped = Buffer.from(bytes);
      flipped[i]! ^= 1 << (i % 8);
      const failure = await file.read(flipped).catch((error: unknown) => error);
      expect(failure, `byte ${i}`).toBeInstanceOf(HistoryBroken);
    }
  });

  test('refuses an export if any of its bytes is missing, or everything after it', async () => {
    const file = await exportFile();
    const bytes = await exported(sourceOf(shortLog().slice(0, 2)));
    for (let i = 0; i < bytes.length; i++) {
      const dropped = Buffer.concat([bytes.subarray(0, i), bytes.subarray(i + 1)]);
      await expect(file.read(dropped), `without byte ${i}`).rejects.toBeInstanceOf(HistoryBroken);
      await expect(file.read(bytes.subarray(0, i)), `until byte ${i}`).rejects.toBeInstanceOf(HistoryBroken);
    }
  });

  const edits: [string, (lines: string[]) => string[], string][] = [
    ['a duplicate line', (lines) => lines.toSpliced(4, 0, lines[3]!), 'line 5: revision 3 comes after revision 3'],
    [
      'two lines swapped',
      (lines) => lines.toSpliced(3, 2, lines[4]!, lines[3]!),
      'line 5: revision 3 comes after revision 4',
    ],
    ['a missing line', (lines) => lines.toSpliced(3, 1), 'Revisions 3 to 3 are missing'],
    ['a missing tail', (lines) => lines.toSpliced(6, 2), 'line 7: the file was changed after it was written'],
    ['an end that is cut off', (lines) => lines.slice(0, 6), 'line 7: the file was cut off, after revision 5'],
    ['a duplicate last line', (lines) => [...lines, lines.at(-1)!], 'line 10: something follows the last line'],
    ['an empty line', (lines) => lines.toSpliced(3, 0, ''), 'line 4: the line after revision 2 was not'],
    ['no first line', (lines) => lines.slice(1), 'line 1: it is not the first line of an exported log'],
    ['a second first line', (lines) => [lines[0]!, ...lines], 'line 2: the line after revision 0 was not'],
    ['another space', (lines) => lines.with(3, lines[3]!.replace(',', ', ')), 'line 4: the line after revision 2'],
    [
      'an unknown field',
      (lines) => lines.with(3, lines[3]!.replace('}', ',"more":1}')),
      'line 4: the line after revision 2 was not',
    ],
    ['an altered body', (lines) => lines.with(5, lines[5]!.replace('recall', 'repair')), 'breaks at revision 6'],
    ['a body in base64', (lines) => lines.with(3, inBase64(lines[3]!)), 'line 4: the line after revision 2'],
    ['CRLF line ends', (lines) => lines.map((line) => `${line}\r`), 'line 1: it is not the first line'],
    [
      'a line without an end',
      (lines) => lines.with(3, 'x'.repeat(MAX_LINE_BYTES + 1024 * 1024)),
      'line 4: the line is longer',
    ],
    ['no lines', () => [], 'line 1: the file is empty'],
  ];

  test.each(edits)('refuses a file with %s', async (_, edit, message) => {
    const lines = (await exported(sourceOf(shortLog()))).toString().trimEnd().split('\n');
    const text = edit(lines)
      .map((line) => `${line}\n`)
      .join('');
    const failure = await (await exportFile()).read(text).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(HistoryBroken);
    expect((failure as Error).message).toContain(message);
    expect((failure as Error).message).toMatch(/[^.]\.$/);
  });
});

function inBase64(line: string): string {
  const { body, ...rest } = JSON.parse(line);
  return JSON.stringify({ ...rest, body_base64: Buffer.from(body).toString('base64') });
}
