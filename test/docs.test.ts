import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { problemTable } from '../src/domain/errors.ts';
import { LOADER_ERRORS } from '../src/domain/fleet.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

const pages = [
  'README.md',
  'clients/python/README.md',
  ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
  ...readdirSync(join(root, 'examples')).map((name) => `examples/${name}/README.md`),
].filter((path) => path.endsWith('.md') && existsSync(join(root, path)));

describe('docs/troubleshooting.md', () => {
  const page = read('docs/troubleshooting.md');

  test('has every code with its status', () => {
    const documented = [...page.matchAll(/^\| `([a-z-]+)` \| (\d{3}) \|/gm)].map(([, code, status]) => [
      code,
      +status!,
    ]);
    expect(documented.toSorted()).toEqual(problemTable.map(({ code, status }) => [code, status]).toSorted());
  });

  test.each(LOADER_ERRORS)('has the loader error %s', (code) => {
    expect(page).toContain(`| \`${code}\` |`);
  });
});

test.each(pages)('every link of %s leads to a page and a heading that exist', (path) => {
  // Fenced code may hold brackets of its own.
  const text = read(path).replace(/^```[\s\S]*?^```/gm, '');
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!);
  const local = links.filter((link) => !/^https?:/.test(link));
  const broken = local.filter((link) => !leadsSomewhere(path, link));
  expect(broken).toEqual([]);
});

function leadsSomewhere(path: string, link: string): boolean {
  const [file, anchor] = link.split('#');
  const target = file ? relative(root, resolve(root, dirname(path), file)) : path;
  if (!existsSync(join(root, target))) return false;
  return anchor === undefined || headingsOf(target).includes(anchor);
}

/** As GitHub makes anchors: lower case, punctuation dropped, spaces as hyphens. */
function headingsOf(path: string): string[] {
  return [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
