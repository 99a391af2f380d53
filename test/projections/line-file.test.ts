import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { appendLines, rotationsOf } from '../../src/projections/line-file.ts';
import { temporaryFolder } from '../support/folder.ts';

const LINE = '{"time":"2026-03-03T14:05:00Z","revision":7}';

test.each([
  ['nothing', '', ''],
  ['whole lines', 'a\nb\n', 'a\nb\n'],
  ['half a line of ours', 'a\n{"time":"2026-0', 'a\n'],
  ['the first letters of one', 'a\n{"ti', 'a\n'],
  ['half a line alone', '{"time', ''],
  ['what somebody else wrote', 'a\n{"other": true}', 'a\n{"other": true}\n'],
  ['a file of somebody else', 'no line', 'no line\n'],
])('a line is appended to %s', async (_, there, kept) => {
  const path = join(await temporaryFolder(), 'logs', 'history.log');
  await mkdir(join(path, '..'));
  await writeFile(path, there);
  await appendLines(path, [LINE]);
  expect(await readFile(path, 'utf8')).toBe(`${kept}${LINE}\n`);
});

test('what was rotated away is told from a neighbour that begins alike', async () => {
  const folder = await temporaryFolder();
  const rotations = ['h.log', 'h.log.1', 'h.log.2.old', 'h.log-20260303', 'h-20260303.log', 'h.1.log'];
  const others = ['h_b.log', 'h-b.log', 'hh.log', 'h.txt', 'h', 'other.log'];
  for (const name of [...rotations, ...others]) await writeFile(join(folder, name), '');
  const found = await rotationsOf(join(folder, 'h.log'));
  expect(found.map((path) => basename(path)).sort()).toEqual(rotations.sort());
});
