import { describe, expect, it } from 'vitest';
import { ComparisonView } from '../../../src/api/comparison.ts';
import { archive } from '../../../src/commands/archive.ts';
import { publish } from '../../../src/commands/publish.ts';
import { file } from '../../commands/support.ts';
import { CONTENT, createTestApp, tokenOf } from '../support.ts';

const admin = await tokenOf('ana', 'admin');
const COMPARE = '/api/models/fraud/compare';
const MANY = Array.from({ length: 10 }, (_, i) => `2.${i}.0`);

/** The model `fraud` with 1.0.0, active, and 1.1.0 with a metric and another file, archived. */
async function appWithVersions() {
  const app = await createTestApp();
  const content = { version: '1.1.0', artifacts: [file('other.txt')], metrics: { auc: 0.5 } };
  app.give(publish, 'fraud', content, { at: '2026-03-04T14:00:00.000Z' });
  app.give(archive, 'fraud', { version: '1.1.0' }, { at: '2026-03-05T14:00:00.000Z' });
  const ask = async (path: string, headers = admin) => {
    const response = await app.request(path, { headers });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
  return { ...app, ask };
}

describe('GET …/compare', () => {
  it('has each field with its values, in the shape that is documented', async () => {
    const { ask } = await appWithVersions();
    const { status, body } = await ask(`${COMPARE}?versions=1.0.0,1.1.0`);
    expect(status).toBe(200);
    const { fields, ...head } = ComparisonView.parse(body);
    expect(head).toEqual({ model: 'fraud', versions: ['1.0.0', '1.1.0'], same_content: false, complete: true });
    const field = (name: string) => fields.find(({ field }) => field === name);
    expect(field('status')).toEqual({
      field: 'status',
      differs: true,
      values: { '1.0.0': 'ready', '1.1.0': 'archived' },
    });
    expect(field('active_in')!.values).toEqual({ '1.0.0': ['production'], '1.1.0': [] });
    expect(field('flavor')).toMatchObject({ differs: false });
    expect(field('metrics.auc')!.values).toEqual({ '1.1.0': 0.5 });
    expect(field('files.model.txt')!.change).toEqual({ '1.1.0': 'removed' });
    expect(field('files.other.txt')!.change).toEqual({ '1.1.0': 'added' });
  });

  it('has only the fields that differ, on request', async () => {
    const { ask } = await appWithVersions();
    const all = ComparisonView.parse((await ask(`${COMPARE}?versions=1.0.0,1.1.0`)).body).fields;
    const { fields } = ComparisonView.parse((await ask(`${COMPARE}?versions=1.0.0,1.1.0&differing=true`)).body);
    expect(fields).toEqual(all.filter(({ differs }) => differs));
    expect(fields.length).toBeLessThan(all.length);
  });

  it('is complete up to 4 MiB, and says if it is not', async () => {
    const { ask } = await createAppWithMany();
    const { body } = await ask(`${COMPARE}?versions=${MANY}`);
    expect(body.complete).toBe(false);
    expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThan(4.2 * 1024 * 1024);
    const differing = ComparisonView.parse((await ask(`${COMPARE}?versions=${MANY}&differing=true`)).body);
    expect(differing.complete).toBe(true);
    expect(differing.fields.map(({ field }) => field)).toContain('files.v2.2.0.txt');
  });

  it.each([
    ['one version', '1.0.0', 400],
    ['no version', '', 400],
    ['a version twice', '1.0.0,1.1.0,1.0.0', 400],
    ['an invalid version', '1.0.0,latest', 400],
    ['eleven versions', Array.from({ length: 11 }, (_, i) => `1.${i}.0`).join(), 400],
    ['an unknown version', '1.0.0,9.9.9', 404],
  ])('refuses %s', async (_, versions, status) => {
    const { ask } = await appWithVersions();
    const refused = await ask(`${COMPARE}?versions=${versions}`);
    expect([refused.status, refused.body.code]).toEqual([
      status,
      status === 400 ? 'invalid-request' : 'unknown-version',
    ]);
  });

  it('needs the permission to read the model, and has an alias for the default one', async () => {
    const { ask, give } = await appWithVersions();
    expect((await ask(`${COMPARE}?versions=1.0.0,1.1.0`, {})).status).toBe(401);
    expect((await ask('/api/models/spam/compare?versions=1.0.0,1.1.0')).body.code).toBe('unknown-model');
    give(publish, 'default', CONTENT, { at: '2026-03-06T14:00:00.000Z' });
    give(publish, 'default', { ...CONTENT, version: '1.1.0' }, { at: '2026-03-06T14:00:00.000Z' });
    const { body } = await ask('/api/registry/compare?versions=1.1.0,1.0.0');
    expect(body).toMatchObject({ model: 'default', versions: ['1.1.0', '1.0.0'], same_content: true });
  });
});

/** Ten versions with as many metrics as a manifest holds, the same in all. */
async function createAppWithMany() {
  const app = await appWithVersions();
  const metrics = Object.fromEntries(Array.from({ length: 22_000 }, (_, i) => [`m${i}`, 1]));
  for (const version of MANY) {
    const content = { version, artifacts: [file(`v${version}.txt`)], metrics };
    app.give(publish, 'fraud', content, { at: '2026-03-06T14:00:00.000Z' });
  }
  return app;
}
