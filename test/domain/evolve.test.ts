import { expect, test } from 'vitest';
import { sha256Hex } from '../../src/domain/digest.ts';
import { type EventDraft, eventData, type RegistryEvent } from '../../src/domain/events.ts';
import { RuleBroken } from '../../src/domain/evolve.ts';
import { canonicalManifest, digestOf, Manifest } from '../../src/domain/manifest.ts';
import { activeMap, type Model } from '../../src/domain/model.ts';
import { ModelInMemory } from '../support/model-in-memory.ts';

const manifest = Manifest.parse({ artifacts: [{ path: 'm', digest: `sha256:${sha256Hex('m')}`, size: 1 }] });
const manifest_digest = digestOf(canonicalManifest(manifest));

function fold(model: ModelInMemory, draft: EventDraft, at = 0, key?: string, revision = model.revision + 1) {
  const time = new Date(Date.UTC(2026, 0, 1) + at).toISOString();
  const idempotency = key === undefined ? {} : { idempotency: { key, command_hash: `hash of ${revision}` } };
  const event = { ...draft, model: 'm', id: `${revision}`, time, actor: 'ana', request_id: 'r', ...idempotency };
  return model.follow(event as RegistryEvent, revision, `${revision}`);
}

const publication = (model: Model, version: string): EventDraft => {
  const data = { version, manifest, manifest_digest, notes: '', active: activeMap(model, []) };
  return { type: 'version.published', data };
};

const activation = (model: Model, version: string, previous: string | null): EventDraft => {
  const active = activeMap(model, [], { environment: 'dev', target: model.version(version)! });
  return {
    type: 'version.activated',
    data: { environment: 'dev', version, previous, reason: null, runtime_checked: false, active },
  };
};

function published(...versions: string[]): ModelInMemory {
  const model = new ModelInMemory('m');
  for (const version of versions) fold(model, publication(model, version));
  return model;
}

test.each([
  ['apart', 120_000],
  ['all in one minute', 0],
])('applies a hundred thousand activations, %s, in linear time, and rolls back to the first', (_, apart) => {
  const model = published('1.0.0', '1.1.0');
  const started = performance.now();
  const last = 100_000;
  const at = (i: number) => ['1.1.0', '1.0.0'][i % 2]!;
  for (let i = 1; i <= last; i++) fold(model, activation(model, at(i), i === 1 ? null : at(i - 1)), i * apart);
  expect(performance.now() - started).toBeLessThan(10_000);
  const target = model.version('1.0.0')!;
  const active = activeMap(model, [], { environment: 'dev', target });
  const common = { environment: 'dev', reason: 'worse', runtime_checked: false, active };
  const data = { ...common, version: '1.0.0', previous: '1.1.0', reverts: [last + 2] };
  fold(model, { type: 'version.rolled_back', data }, last * apart);
  expect(model.environments.get('dev')!.top).toMatchObject({ revision: last + 1, version: '1.0.0' });
});

test('refuses a revision that is not higher than the last one', () => {
  const model = published('1.0.0');
  expect(() => fold(model, publication(model, '1.1.0'), 0, undefined, 1)).toThrow(RuleBroken);
  fold(model, publication(model, '1.1.0'), 0, undefined, 7);
  expect(() => fold(model, publication(model, '1.2.0'), 0, undefined, 6)).toThrow(RuleBroken);
  expect([...model.versions.keys()]).toEqual(['1.0.0', '1.1.0']);
});

test.each(['1.0', 'v1.0.0', '../1.0.0', '__proto__'])('refuses to publish the invalid version %s', (version) => {
  const model = published();
  expect(() => fold(model, publication(model, version))).toThrow(RuleBroken);
});

test('accepts a rollback only to the nearest entry and if it reverts something', () => {
  const model = published('1.0.0', '1.1.0');
  for (const [version, previous] of [
    ['1.0.0', null],
    ['1.1.0', '1.0.0'],
    ['1.0.0', '1.1.0'],
    ['1.1.0', '1.0.0'],
  ] as const) {
    fold(model, activation(model, version, previous));
  }
  const active = activeMap(model, [], { environment: 'dev', target: model.version('1.1.0')! });
  const common = {
    environment: 'dev',
    previous: '1.1.0',
    version: '1.1.0',
    reason: 'worse',
    runtime_checked: false,
    active,
  };
  const back = (reverts: number[]) => fold(model, { type: 'version.rolled_back', data: { ...common, reverts } });
  expect(() => back([])).toThrow(RuleBroken);
  expect(() => back([6])).toThrow(RuleBroken);
  back([6, 5]);
  const further = (reverts: number[]) => {
    const target = model.version('1.0.0')!;
    const data = { ...common, version: '1.0.0', active: activeMap(model, [], { environment: 'dev', target }), reverts };
    return fold(model, { type: 'version.rolled_back', data });
  };
  expect(() => further([4, 3])).toThrow(RuleBroken);
  expect(further([4]).environments.get('dev')!.top).toMatchObject({ revision: 3, below: null });
});

test.each([
  ['a list', '[]'],
  ['null', 'null'],
  ['the key __proto__', '{"__proto__":{"version":"1.0.0"}}'],
  ['a key that objects inherit', '{"constructor":{"version":"1.0.0"}}'],
  ['true as a pointer', '{"dev":true}'],
  ['an empty pointer', '{"dev":{}}'],
  ['0 as a pointer', '{"dev":0}'],
])('refuses an active map: %s', (_, json) => {
  const model = published();
  const { type, data } = publication(model, '1.0.0');
  const read = eventData[type].safeParse({ ...data, active: JSON.parse(json) });
  const folded = () => fold(model, { type, data: read.data } as EventDraft);
  if (read.success) expect(folded).toThrow(RuleBroken);
});

test.each(['__proto__', 'constructor'])('refuses an active map that lacks the moved environment %s', (environment) => {
  const model = published('1.0.0');
  const target = model.version('1.0.0')!;
  const common = { environment, version: '1.0.0', previous: null, reason: null, runtime_checked: false };
  const draft = (active: object) => ({ type: 'version.activated', data: { ...common, active } }) as EventDraft;
  expect(() => fold(model, draft({}))).toThrow(RuleBroken);
  const active = activeMap(model, [], { environment, target });
  expect(Object.keys(active)).toEqual([environment]);
  fold(model, draft(active));
  expect(Object.keys(activeMap(model, []))).toEqual([environment]);
  expect(() => fold(model, publication(new ModelInMemory('m'), '1.1.0'))).toThrow(RuleBroken);
});

const archival = (model: Model, version: string): EventDraft => {
  return { type: 'version.archived', data: { version, reason: null, active: activeMap(model, []) } };
};

const move = (model: Model, version: string | null) => {
  const target = version === null ? null : model.version(version)!;
  return { environment: 'dev', reason: 'why', active: activeMap(model, [], { environment: 'dev', target }) };
};

/** These events fit the hash chain and have a correct active map, but the rules do not allow them. */
test.each<[string, (model: Model) => EventDraft]>([
  ['a version published again', (model) => publication(model, '1.0.0')],
  ['an activation of an archived version', (model) => activation(model, '0.9.0', '1.1.0')],
  ['an activation of the active version', (model) => activation(model, '1.1.0', '1.1.0')],
  ['an archival of the active version', (model) => archival(model, '1.1.0')],
  ['an archival of an archived version', (model) => archival(model, '0.9.0')],
  ['an archival of an unpublished version', (model) => archival(model, '9.9.9')],
  [
    'a restoration of a version that is not archived',
    (model) => ({ ...archival(model, '1.0.0'), type: 'version.restored' }) as EventDraft,
  ],
  [
    'notes of an unpublished version',
    (model) => ({ type: 'notes.changed', data: { version: '9.9.9', notes: '', active: activeMap(model, []) } }),
  ],
  [
    'a rollback to an archived version',
    (model) => {
      const common = { version: '0.9.0', previous: '1.1.0', reverts: [7, 5], runtime_checked: false };
      return { type: 'version.rolled_back', data: { ...common, ...move(model, '0.9.0') } };
    },
  ],
])('refuses %s and changes nothing', (_, draft) => {
  const model = published('0.9.0', '1.0.0', '1.1.0');
  fold(model, activation(model, '0.9.0', null));
  fold(model, activation(model, '1.0.0', '0.9.0'));
  fold(model, archival(model, '0.9.0'));
  fold(model, activation(model, '1.1.0', '1.0.0'));
  const before = structuredClone(model);
  expect(() => fold(model, draft(model), 0, 'key')).toThrow(RuleBroken);
  expect(model).toEqual(before);
});

test('refuses a deactivation if no version is active', () => {
  const model = published('1.0.0');
  const data = { version: null, previous: null, ...move(model, null) };
  expect(() => fold(model, { type: 'version.deactivated', data })).toThrow(RuleBroken);
});
