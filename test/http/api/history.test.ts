import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_POLICY } from '../../../src/access/policy.ts';
import { activate } from '../../../src/commands/activate.ts';
import { deactivate } from '../../../src/commands/deactivate.ts';
import { declareRuntime } from '../../../src/commands/declare-runtime.ts';
import { publish } from '../../../src/commands/publish.ts';
import { rollback } from '../../../src/commands/rollback.ts';
import { file } from '../../commands/support.ts';
import { createTestApp, tokenOf } from '../support.ts';

const admin = await tokenOf('ana', 'admin');
const REASONS = [
  'recall dropped',
  'Recall dropped again',
  'recall rose',
  `it's "quoted" OR NOT (a*b)`,
  'größer als 5 %',
];

interface Event {
  revision: number;
  model?: string;
  type: string;
  time: string;
  actor: string;
  data: { environment?: string; version?: string | null; previous?: string | null; reason?: string | null };
}

/** An app whose log has moves of three models, a minute apart, some at the same time. */
async function withMoves(policy = DEFAULT_POLICY) {
  const app = await createTestApp({ policy });
  const at = (i: number) => new Date(Date.UTC(2026, 3, 1) + 60_000 * (i >> 1)).toISOString();
  let i = 0;
  const say = () => ({ at: at(++i), actor: i % 3 === 0 ? 'eve' : 'ana' });
  for (const model of ['alpha', 'beta', 'gamma-secret']) {
    for (const version of ['1.0.0', '1.1.0'])
      app.give(publish, model, { version, artifacts: [file('model.txt')] }, say());
  }
  for (const model of ['alpha', 'beta']) {
    app.give(declareRuntime, model, { environment: 'production', python: '3.11.7' }, say());
  }
  for (let round = 0; round < 12; round++) {
    for (const model of ['alpha', 'beta', 'gamma-secret']) {
      const environment = round % 4 === 3 ? 'staging' : 'production';
      const reason = REASONS[(round + model.length) % REASONS.length]!;
      const version = round % 2 === 0 ? '1.0.0' : '1.1.0';
      const moved = () => {
        if (round === 6) return app.give(rollback, model, { environment, reason }, say());
        if (round === 9) return app.give(deactivate, model, { environment, reason }, say());
        return app.give(activate, model, { environment, version, reason }, say());
      };
      try {
        moved();
      } catch {
        // refused: it was active already
      }
    }
  }
  const events = async (path: string): Promise<Event[]> => {
    const found: Event[] = [];
    let token: string | null = '';
    while (token !== null) {
      const response: Response = await app.request(`${path}&page_size=7${token && `&page_token=${token}`}`, {
        headers: admin,
      });
      const page = (await response.json()) as { events: Event[]; next_page_token: string | null };
      expect(response.status, JSON.stringify(page)).toBe(200);
      found.push(...page.events);
      token = page.next_page_token;
    }
    return found;
  };
  return { ...app, events };
}

const wordsOf = (text: string) =>
  text
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter(Boolean);

describe('the history', () => {
  it('over all models, and of one, has what its filters name, newest first', async () => {
    const { events } = await withMoves();
    const all = await events('/api/history?');
    expect(all.map(({ revision }) => revision)).toEqual(all.map((_, i) => all.length - i));
    const times = [...new Set(all.map(({ time }) => time))];
    const filters = fc.record(
      {
        type: fc.constantFrom('version.activated', 'version.rolled_back', 'version.deactivated', 'version.published'),
        environment: fc.constantFrom('production', 'staging'),
        version: fc.constantFrom('1.0.0', '1.1.0', '9.9.9'),
        actor: fc.constantFrom('ana', 'eve', 'nobody'),
        reason: fc.constantFrom('recall', 'RECALL dropped', 'dropped recall', 'quoted', 'OR', 'größer', 'nothing'),
        since: fc.constantFrom(...times),
        until: fc.constantFrom(...times),
        model: fc.constantFrom('alpha', 'gamma-secret', 'fraud'),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(filters, async ({ model, ...filter }) => {
        const query = new URLSearchParams(filter as Record<string, string>);
        const found = await events(model ? `/api/models/${model}/history?${query}` : `/api/history?${query}`);
        const expected = all.filter((event) => matches(event, { model, ...filter }));
        expect(found.map(({ revision }) => revision)).toEqual(expected.map(({ revision }) => revision));
        if (model === undefined) expect(found).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });

  it('shows only the models that the caller may read', async () => {
    const policy = {
      ...DEFAULT_POLICY,
      grants: [...DEFAULT_POLICY.grants, { subject: 'uwe', allow: ['read' as const], models: ['alpha', 'be*'] }],
    };
    const { request } = await withMoves({
      ...policy,
      grants: policy.grants.filter((grant) => !('role' in grant && grant.role === 'user')),
    });
    const response = await request('/api/history?page_size=1000', { headers: await tokenOf('uwe', 'user') });
    const { events } = (await response.json()) as { events: Event[] };
    expect(new Set(events.map(({ model }) => model))).toEqual(new Set(['alpha', 'beta']));
    const foreign = await request('/api/models/gamma-secret/history', { headers: await tokenOf('uwe', 'user') });
    expect(foreign.status).toBe(403);
  });

  it.each(['"', 'NEAR(a b)', 'a*', '* OR 1', 'reason:x', '', ' ', '-', '^a', "'; DROP TABLE event; --"])(
    'takes the words %j as words, whatever they mean to the full-text index',
    async (reason) => {
      const { request } = await withMoves();
      const response = await request(`/api/history?reason=${encodeURIComponent(reason)}`, { headers: admin });
      expect(response.status).toBe(200);
    },
  );

  it('refuses the page token of another query', async () => {
    const { request } = await withMoves();
    const { next_page_token } = (await (await request('/api/history?page_size=2', { headers: admin })).json()) as {
      next_page_token: string;
    };
    const path = `/api/models/alpha/history?page_token=${next_page_token}`;
    expect((await request(path, { headers: admin })).status).toBe(400);
    expect((await request(`/api/history?actor=eve&page_token=${next_page_token}`, { headers: admin })).status).toBe(
      400,
    );
  });
});

function matches(event: Event, filter: Record<string, string | undefined>): boolean {
  const { data } = event;
  const { model, type, environment, version, actor, reason, since, until } = filter;
  return (
    (model === undefined || event.model === model) &&
    (type === undefined || event.type === type) &&
    (environment === undefined || data.environment === environment) &&
    (version === undefined || data.version === version || data.previous === version) &&
    (actor === undefined || event.actor === actor) &&
    (since === undefined || event.time >= since) &&
    (until === undefined || event.time <= until) &&
    (reason === undefined ||
      (typeof data.reason === 'string' && wordsOf(reason).every((word) => wordsOf(data.reason!).includes(word))))
  );
}

describe('the timeline', () => {
  it.each(['alpha', 'beta'])('of %s follows from its moves', async (model) => {
    const { request, events } = await withMoves();
    const moves = (await events(`/api/models/${model}/history?`)).filter(({ data }) => 'previous' in data);
    const expected = moves.map(({ revision, type, time, actor, data }, i) => ({
      environment: data.environment,
      version: data.version,
      previous: data.previous,
      type,
      since: time,
      by: actor,
      reason: data.reason,
      revision,
      until: moves.slice(0, i).findLast((later) => later.data.environment === data.environment)?.time ?? null,
    }));
    const all = await request(`/api/models/${model}/timeline`, { headers: admin });
    expect(await all.json()).toEqual({ tenures: expected, next_page_token: null });
    const staging = await request(`/api/models/${model}/timeline?environment=staging&page_size=1`, { headers: admin });
    const page = (await staging.json()) as { tenures: object[]; next_page_token: string | null };
    expect(page.tenures).toEqual(expected.filter(({ environment }) => environment === 'staging').slice(0, 1));
  });
});
