import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { appendLines, rotationsOf } from '../../src/projections/line-file.ts';
import { temporaryFolder } from '../support/folder.ts';

const LINE = '{"time":"2026-03-03T14:05:00Z","revision":7}';

test.each([
  ['nothing', '', ''],
  ['complete lines', 'a\nb\n', 'a\nb\n'],
  ['a part of a history line', 'a\n{"time":"2026-0', 'a\n'],
  ['the first characters of a history line', 'a\n{"ti', 'a\n'],
  ['only a part of a history line', '{"time', ''],
  ['a line of another program', 'a\n{"other": true}', 'a\n{"other": true}\n'],
  ['a file of another program', 'no line', 'no line\n'],
])('a line is appended to %s', async (_, there, kept) => {
  const path = join(await temporaryFolder(), 'logs', 'history.log');
  await mkdir(join(path, '..'));
  await writeFile(path, there);
  await appendLines(path, [LINE]);
  expect(await readFile(path, 'utf8')).toBe(`${kept}${LINE}\n`);
});

test('rotations are distinguished from other files with a similar name', async () => {
  const folder = await temporaryFolder();
  const rotations = ['h.log', 'h.log.1', 'h.log.2.old', 'h.log-20260303', 'h-20260303.log', 'h.1.log'];
  const others = ['h_b.log', 'h-b.log', 'hh.log', 'h.txt', 'h', 'other.log'];
  for (const name of [...rotations, ...others]) await writeFile(join(folder, name), '');
  const found = await rotationsOf(join(folder, 'h.log'));
  expect(found.map((path) => basename(path)).sort()).toEqual(rotations.sort());
});
