import { expect, it, onTestFinished } from 'vitest';
import { emptyProgram, ok, publish, send, versionForm, wholeHistory } from './support.ts';

const MIB = 1024 * 1024;
const VERSIONS = '/api/models/default/versions';

/** Returns every page of a listing. */
async function pagesOf(ask: (query: string) => Promise<Response>) {
  const pages: { text: string; entries: unknown[] }[] = [];
  let token = '';
  do {
    const text = await (await ask(`page_size=1000${token && `&page_token=${token}`}`)).text();
    const { next_page_token, ...lists } = JSON.parse(text);
    pages.push({ text, entries: Object.values(lists)[0] as unknown[] });
    token = next_page_token ?? '';
  } while (token);
  return pages;
}

it('a page of a listing ends at 1 MiB, and the next one continues', { timeout: 60_000 }, async () => {
  const program = await emptyProgram(onTestFinished);
  await publish(program, '1.0.0');
  const notes = (i: number) => `${i} ${'n'.repeat(16_000)}`;
  for (let i = 0; i < 100; i++) await ok(program, 'PATCH', `${VERSIONS}/1.0.0/notes`, { notes: notes(i) });
  for (let i = 0; i < 30; i++) {
    const body = { version: `2.${i}.0`, tags: { t: 't'.repeat(100_000) } };
    const form = versionForm(body, { 'a.txt': 'a' });
    expect((await send(program, 'POST', VERSIONS, form)).status).toBe(201);
  }

  const history = await pagesOf((query) => program.ask('GET', `/api/models/default/history?${query}`));
  expect(history.length).toBeGreaterThan(3);
  for (const { text, entries } of history) {
    expect(text.length).toBeLessThan(MIB + 1000);
    expect(entries.length).toBeGreaterThan(0);
  }
  const all = history.flatMap(({ entries }) => entries);
  expect(all).toEqual((await wholeHistory(program)).reverse());
  expect(all.length).toBe(131);

  const versions = await pagesOf((query) => program.ask('GET', `${VERSIONS}?${query}`));
  expect(versions.length).toBeGreaterThan(2);
  for (const { text } of versions) expect(text.length).toBeLessThan(MIB + 1000);
  expect(versions.flatMap(({ entries }) => entries).length).toBe(31);
});
