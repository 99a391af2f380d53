import { describe, expect, it } from 'vitest';
import { DEFAULT_POLICY } from '../../../src/access/policy.ts';
import { activate } from '../../../src/commands/activate.ts';
import { archive } from '../../../src/commands/archive.ts';
import { notes } from '../../../src/commands/notes.ts';
import { publish } from '../../../src/commands/publish.ts';
import { file } from '../../commands/support.ts';
import { createTestApp, tokenOf } from '../support.ts';

const admin = await tokenOf('ana', 'admin');
const at = (i: number) => ({ at: new Date(Date.UTC(2026, 4, 1) + 3600_000 * i).toISOString() });
const TEAMS = ['risk', 'fraud'];

/** An app with twenty versions of `spam`: metrics, tags and notes alternate; 1.3.0 is active, 1.4.0 archived. */
async function withVersions(changed = {}) {
  const app = await createTestApp(changed);
  for (let i = 0; i < 20; i++) {
    const metrics = i % 5 === 4 ? {} : { auc: i / 20 };
    const notes = i % 3 === 0 ? `Leaking labels, see issue ${i}` : '';
    const body = { version: `1.${i}.0`, artifacts: [file('model.txt')], metrics, tags: { team: TEAMS[i % 2]! }, notes };
    app.give(publish, 'spam', body, at(i));
  }
  app.give(activate, 'spam', { version: '1.3.0' }, at(20));
  app.give(archive, 'spam', { version: '1.4.0' }, at(21));
  const ask = async (path: string, query: Record<string, string>, headers = admin) => {
    const response = await app.request(`${path}?${new URLSearchParams(query)}`, { headers });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
  const found = async (query: Record<string, string>) => {
    const { status, body } = await ask('/api/models/spam/versions', query);
    expect(status, JSON.stringify(body)).toBe(200);
    return body.versions.map(({ version }: { version: string }) => version);
  };
  return { ...app, ask, found };
}

const versions = (...minors: number[]) => minors.map((minor) => `1.${minor}.0`);

describe('a search among versions', () => {
  it.each<[Record<string, string>, string[]]>([
    [{ where: "metrics.auc >= 0.8 and tags.team = 'risk' and status = 'ready'" }, versions(18, 16)],
    [{ where: "metrics.auc < 0.2 and tags.team = 'risk'", order_by: 'metrics.auc' }, versions(0, 2)],
    [{ where: "environment = 'production'" }, versions(3)],
    [{ where: "notes contains 'LABELS leaking' and version < '1.7.0'" }, versions(6, 3, 0)],
    [{ where: "status = 'archived'" }, versions(4)],
    [{ where: "published_at >= '2026-05-01T18:00:00Z'", order_by: 'version desc' }, versions(19, 18)],
    [
      { where: 'metrics.auc > 0.8', environment: 'production', active_flag: 'false', order_by: 'version' },
      versions(17, 18),
    ],
    [{ where: "version <= '1.4.0'", active_flag: 'true' }, versions(3)],
    [{ where: "version <= '1.2.0'", active_flag: 'false', status: 'ready' }, versions(2, 1, 0)],
    [{ order_by: 'metrics.auc desc, version desc', page_size: '3' }, versions(18, 17, 16)],
    [{ where: '  ' }, versions(...Array.from({ length: 20 }, (_, i) => 19 - i))],
  ])('%j', async (query, expected) => {
    const { found } = await withVersions();
    expect(await found(query)).toEqual(expected);
  });

  it('finds notes as they are now', async () => {
    const { found, give } = await withVersions();
    give(notes, 'spam', { version: '1.3.0', notes: 'Now about drift' }, at(22));
    give(notes, 'spam', { version: '1.6.0', notes: '' }, at(23));
    expect(await found({ where: "notes contains 'drift'" })).toEqual(versions(3));
    const left = [18, 15, 12, 9, 0];
    expect(await found({ where: "notes contains 'leaking'" })).toEqual(versions(...left));
  });

  it('has the same entries as the list without a search', async () => {
    const { ask } = await withVersions();
    const plain = await ask('/api/models/spam/versions', {});
    const searched = await ask('/api/models/spam/versions', { where: 'revision > 0' });
    expect(searched.body).toEqual(plain.body);
  });

  it('counts, and pages on while versions are published and moved', async () => {
    const { ask, give } = await withVersions();
    const query = { where: "tags.team = 'risk'", order_by: 'metrics.auc desc', page_size: '3' };
    const seen: string[] = [];
    let token: string | null = '';
    let more = 20;
    while (token !== null) {
      const page = await ask('/api/models/spam/versions', {
        ...query,
        count: 'true',
        ...(token && { page_token: token }),
      });
      expect(page.body.count).toBeGreaterThanOrEqual(10);
      seen.push(...page.body.versions.map(({ version }: { version: string }) => version));
      token = page.body.next_page_token;
      const tags = { team: 'risk' };
      give(
        publish,
        'spam',
        { version: `1.${more++}.0`, artifacts: [file('model.txt')], metrics: { auc: 0.99 }, tags },
        at(more),
      );
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.slice(0, 10)).toEqual(versions(18, 16, 12, 10, 8, 6, 2, 0, 14, 4));
  });

  it.each<[Record<string, string>, object]>([
    [{ where: "metrics.auc > 'high'" }, { position: 15, expected: 'a number' }],
    [{ where: 'metrics.auc >' }, { position: 14 }],
    [{ where: 'colour = 1' }, { position: 1 }],
    [{ where: "tags.team = 'a' and" }, { position: 20 }],
    [{ where: "status = 'deleted'" }, { position: 10 }],
    [{ where: "environment = 'nowhere'" }, { position: 15 }],
    [{ where: "x'; DROP TABLE version; --" }, { position: 27 }],
    [{ where: "tags.a = 'x' ; DROP TABLE version" }, { position: 14 }],
    [{ where: Array.from({ length: 1_000 }, () => 'revision > 0').join(' and ') }, {}],
    [{ where: `${'('.repeat(100)}revision > 0${')'.repeat(100)}` }, { position: 11 }],
    [{ order_by: 'metrics.auc sideways' }, { position: 13 }],
    [{ order_by: 'notes' }, { position: 1 }],
    [{ where: 'revision > 0', at: '3' }, {}],
    [{ where: 'revision > 0', page_token: 'x' }, {}],
  ])('refuses %j with its place', async (query, fields) => {
    const { ask } = await withVersions();
    const { status, body } = await ask('/api/models/spam/versions', query);
    expect([status, body]).toEqual([400, expect.objectContaining({ code: 'invalid-request', ...fields })]);
  });

  it('refuses a page token of another search, of the list, and of another model', async () => {
    const { ask } = await withVersions();
    const token = async (query: Record<string, string>) =>
      (await ask('/api/models/spam/versions', { page_size: '2', ...query })).body.next_page_token;
    const ofSearch = await token({ where: 'revision > 0' });
    const ofList = await token({});
    for (const [query, page_token] of [
      [{ where: 'revision > 1' }, ofSearch],
      [{ where: 'revision > 0', order_by: 'version' }, ofSearch],
      [{}, ofSearch],
      [{ where: 'revision > 0' }, ofList],
    ] as const) {
      expect((await ask('/api/models/spam/versions', { ...query, page_token })).status).toBe(400);
    }
    expect((await ask('/api/models', { where: 'revision > 0', page_token: ofSearch })).status).toBe(400);
  });
});

describe('a search among models', () => {
  it('looks at the latest version, and shows only what the caller may read', async () => {
    const grants = [
      { role: 'admin', allow: ['read' as const], models: ['*'] },
      { subject: 'uwe', allow: ['read' as const], models: ['fraud'] },
    ];
    const { ask } = await withVersions({ policy: { ...DEFAULT_POLICY, grants } });
    const names = async (query: Record<string, string>, headers = admin) =>
      (await ask('/api/models', query, headers)).body.models.map(({ model }: { model: string }) => model);
    expect(await names({ where: "tags.team = 'fraud'" })).toEqual(['spam']);
    expect(await names({ where: 'versions >= 1', order_by: 'name' })).toEqual(['fraud', 'spam']);
    expect(await names({ where: "name like 'f%'" })).toEqual(['fraud']);
    const { body } = await ask('/api/models', { where: 'versions >= 1', count: 'true' }, await tokenOf('uwe', 'user'));
    expect(body).toMatchObject({ models: [{ model: 'fraud' }], count: 1 });
    const plain = await ask('/api/models', {});
    expect((await ask('/api/models', { order_by: 'revision desc' })).body).toEqual(plain.body);
  });
});
