import { beforeEach, expect, test } from 'vitest';
import { replayLog } from '../../../src/audit/replay.ts';
import { MAX_STACK } from '../../../src/audit/rules/apply.ts';
import { activate } from '../../../src/commands/activate.ts';
import { archive } from '../../../src/commands/archive.ts';
import { declareRuntime } from '../../../src/commands/declare-runtime.ts';
import { publish } from '../../../src/commands/publish.ts';
import { rollback as rollBack } from '../../../src/commands/rollback.ts';
import { sha256Hex } from '../../../src/domain/digest.ts';
import type { RawMessage } from '../../../src/proof/source.ts';
import { at, file } from '../../commands/support.ts';
import { createLogbook, sourceOf } from '../../support/logbook.ts';
import { altered } from '../support.ts';

type Event = { data: Record<string, unknown> & { active: Record<string, unknown> } } & Record<string, unknown>;

let messages: RawMessage[];
let pointer: Record<string, object>;

/** 0.9.0 is archived; in dev, 1.0.0, 1.1.0 and 1.2.0 are activated (revisions 6, 7 and 8), then a runtime is declared. */
beforeEach(() => {
  const book = createLogbook();
  messages = book.messages;
  const given = { at: at(0) };
  const versions = ['0.9.0', '1.0.0', '1.1.0', '1.2.0'];
  for (const version of versions) {
    book.give(publish, 'fraud', { version, artifacts: [file()], metrics: { auc: 0.9 }, requires: {} }, given);
  }
  book.give(archive, 'fraud', { version: '0.9.0' }, given);
  for (const version of versions.slice(1)) book.give(activate, 'fraud', { version, environment: 'dev' }, given);
  book.give(declareRuntime, 'fraud', { environment: 'dev', python: '3.11.7' }, given);
  pointer = Object.fromEntries(
    versions.map((version, i) => {
      const { manifest_digest } = JSON.parse(messages[i]!.body.toString()).data;
      return [version, { version, manifest_digest, published_revision: i + 1 }];
    }),
  );
});

/** Appends an event, a copy of the last one with these changes and the right prevhash, and returns the first finding. */
async function found(type: string, data: Record<string, unknown>, more: Record<string, unknown> = {}) {
  const last = messages.at(-1)!;
  const forged = altered(last, (event) => {
    const { active } = (event as Event).data;
    const unchanged = { ...active, dev: { ...(active.dev as object), revision: 8 } };
    Object.assign(event, { type: `signalbox.${type}.v1`, prevhash: sha256Hex(last.body), ...more });
    event.data = { active: unchanged, ...data };
  });
  const { findings } = await replayLog(sourceOf([...messages, { ...forged, revision: last.revision + 1 }]));
  return findings[0] ? [findings[0].revision, findings[0].check, findings[0].what].join(': ') : 'nothing';
}

const moved = (version: string | null) => {
  return { production: null, staging: null, dev: version && pointer[version] };
};
const activation = (version: string, more = {}) => {
  const data = { environment: 'dev', version, previous: '1.2.0', reason: null, runtime_checked: true };
  return found('version.activated', { ...data, active: moved(version), ...more });
};
const rollback = (version: string | null, reverts: number[], more = {}) => {
  const data = {
    environment: 'dev',
    version,
    previous: '1.2.0',
    reason: 'r',
    reverts,
    runtime_checked: version !== null,
  };
  return found('version.rolled_back', { ...data, active: moved(version), ...more });
};

test('accepts valid events', async () => {
  expect(await activation('1.0.0')).toBe('nothing');
  expect(await rollback('1.1.0', [8])).toBe('nothing');
  expect(await rollback('1.0.0', [8, 7])).toBe('nothing');
  expect(await found('notes.changed', { version: '0.9.0', notes: 'old' })).toBe('nothing');
  expect(await found('version.restored', { version: '0.9.0', reason: null })).toBe('nothing');
});

test.each<[string, string, () => Promise<string>]>([
  ['an activation of an unpublished version', 'rules: 9.9.9 was never', () => activation('9.9.9')],
  ['an activation of an archived version', 'rules: 0.9.0 is archived', () => activation('0.9.0')],
  ['an activation of the active version', 'rules: 1.2.0 was already active', () => activation('1.2.0')],
  ['a wrong previous', 'rules: Its data’s previous was not', () => activation('1.0.0', { previous: '1.1.0' })],
  ['an unchecked runtime', 'rules: A runtime was declared', () => activation('1.0.0', { runtime_checked: false })],
  ['an invalid environment', 'shape: Its data’s environment', () => activation('1.0.0', { environment: '__proto__' })],
  ['a rollback to the wrong version', 'rules: The rollback ends at', () => rollback('1.0.0', [8])],
  ['a rollback of other moves', 'rules: The rollback does not undo', () => rollback('1.0.0', [7])],
  ['a rollback of everything', 'rules: The rollback does not undo', () => rollback(null, [8, 7, 6])],
  ['a rollback of nothing', 'shape: Its data’s reverts', () => rollback('1.1.0', [])],
  ['a rollback without a reason', 'shape: Its data’s reason', () => rollback('1.1.0', [8], { reason: null })],
  ['an unknown override', 'shape: Its data’s overridden', () => rollback('1.1.0', [8], { overridden: ['all'] })],
  [
    'a deactivation without an active version',
    'rules: No version was active',
    () => {
      const data = { environment: 'staging', version: null, previous: null, reason: 'r' };
      return found('version.deactivated', data);
    },
  ],
  [
    'an archival of an active version',
    'rules: 1.2.0 is active in dev',
    () => found('version.archived', { version: '1.2.0', reason: null }),
  ],
  [
    'an archival of an archived version',
    'rules: 0.9.0 is already archived',
    () => found('version.archived', { version: '0.9.0', reason: null }),
  ],
  [
    'an unarchival of a version that is not archived',
    'rules: 1.0.0 is already ready',
    () => found('version.restored', { version: '1.0.0', reason: null }),
  ],
  ['notes of an unpublished version', 'rules: 9.9.9', () => found('notes.changed', { version: '9.9.9', notes: '' })],
  [
    'a runtime with other fields',
    'shape: Its data’s runtime',
    () => found('runtime.declared', { environment: 'dev', runtime: { ruby: '3' } }),
  ],
  [
    'a time before the last event',
    'time: It is earlier',
    () => found('notes.changed', { version: '1.0.0', notes: '' }, { time: at(-1) }),
  ],
  [
    'a day that does not exist',
    'shape: Its time',
    () => found('notes.changed', { version: '1.0.0', notes: '' }, { time: '2026-02-30T00:00:00Z' }),
  ],
  [
    'another model',
    'subject: It is about another',
    () => found('notes.changed', { version: '1.0.0', notes: '' }, { subject: 'churn' }),
  ],
  ['an unknown type', 'type: Its type or the version', () => found('version.praised', {})],
  [
    'an unknown version of a type',
    'type: Its type or the version',
    () => found('notes.changed', {}, { type: 'signalbox.notes.changed.v2' }),
  ],
])('finds %s', async (_, what, forge) => {
  expect(await forge()).toContain(`10: ${what}`);
});

test.each<[string, (active: Record<string, unknown>) => unknown]>([
  ['a missing environment', ({ dev: _, ...others }) => others],
  ['another version', (active) => ({ ...active, dev: { ...pointer['1.1.0'], revision: 8 } })],
  [
    'another digest',
    (active) => ({ ...active, dev: { ...(active.dev as object), manifest_digest: `sha256:${'0'.repeat(64)}` } }),
  ],
  ['another publication', (active) => ({ ...active, dev: { ...(active.dev as object), published_revision: 1 } })],
  ['another move', (active) => ({ ...active, dev: { ...(active.dev as object), revision: 7 } })],
  ['no move', (active) => ({ ...active, dev: pointer['1.2.0'] })],
  ['a version where none is active', (active) => ({ ...active, staging: pointer['1.2.0'] })],
  ['null where a version is active', (active) => ({ ...active, dev: null })],
  ['a value that is not an object', (active) => ({ ...active, dev: true })],
])('finds an active map with %s', async (_, change) => {
  const unchanged = { production: null, staging: null, dev: { ...pointer['1.2.0'], revision: 8 } };
  const data = { version: '1.0.0', notes: 'x' };
  expect(await found('notes.changed', { ...data, active: unchanged })).toBe('nothing');
  expect(await found('notes.changed', { ...data, active: change(unchanged) })).toMatch(/^10: active: /);
});

test('finds an active map without the environment that is moved for the first time', async () => {
  const others = { production: null, dev: { ...pointer['1.2.0'], revision: 8 } };
  const move = { environment: 'staging', version: '1.0.0', previous: null, reason: null, runtime_checked: false };
  expect(await found('version.activated', { ...move, active: { ...others, staging: pointer['1.0.0'] } })).toBe(
    'nothing',
  );
  expect(await found('version.activated', { ...move, active: others })).toMatch(/^10: active: /);
});

test.each<[string, string, (data: Record<string, unknown>) => void]>([
  [
    'a published version',
    'rules: 1.0.0 was already published at revision 2',
    (data) => Object.assign(data, { version: '1.0.0' }),
  ],
  ['an invalid version', 'rules: v2 is not a', (data) => Object.assign(data, { version: 'v2' })],
  [
    'an altered metric',
    'manifest: The manifest does not match',
    (data) => Object.assign(data.manifest as object, { metrics: { auc: 1 } }),
  ],
  [
    'an unknown field',
    'manifest: The manifest has wrong fields',
    (data) => Object.assign(data.manifest as object, { more: 1 }),
  ],
  [
    'a path that leaves the folder',
    'manifest: Invalid artifact path',
    (data) => Object.assign(artifact(data), { path: '../x' }),
  ],
  ['an invalid digest', 'manifest: The digest of', (data) => Object.assign(artifact(data), { digest: 'sha256:0' })],
  ['a negative size', 'manifest: The size of', (data) => Object.assign(artifact(data), { size: -1 })],
  ['no files', 'manifest: The manifest lists no', (data) => Object.assign(data.manifest as object, { artifacts: [] })],
  [
    'too many levels',
    'manifest: The manifest is nested',
    (data) => Object.assign(data.manifest as object, { lineage: nested(101) }),
  ],
])('finds a publication of %s', async (_, what, change) => {
  const { data } = JSON.parse(messages[3]!.body.toString()) as Event;
  data.version = '2.0.0';
  change(data);
  const { active: _active, ...rest } = data;
  expect(await found('version.published', rest)).toContain(`10: ${what}`);
});

const artifact = (data: Record<string, unknown>) => (data.manifest as { artifacts: object[] }).artifacts[0]!;

function nested(depth: number): object {
  return depth === 0 ? {} : { a: nested(depth - 1) };
}

test.each(['"manifest":', '"manifest_digest":', '"notes":', '"active":'])(
  'finds a value with 100,000 levels at %s',
  async (field) => {
    const last = messages[3]!;
    const deep = '{"a":'.repeat(100_000) + 1 + '}'.repeat(100_000);
    const body = Buffer.from(last.body.toString().replace(field, `${field}${deep},"x":`));
    const { findings } = await replayLog(sourceOf(messages.with(3, { ...last, body })));
    expect(findings[0]!.revision).toBe(4);
    expect(JSON.stringify(findings).length).toBeLessThan(10_000);
  },
);

test('the event after a break of the chain shows which of the two events was altered', async () => {
  const forge = (event: Record<string, unknown>) => {
    event.actor = 'mallory';
  };
  const before = await replayLog(sourceOf(messages.with(1, altered(messages[1]!, forge))));
  expect(before.findings).toMatchObject([{ revision: 3, check: 'chain', unchecked: 6 }]);
  expect(before.findings[0]!.what).toMatch(/revision 2.*an event before this one was altered/);
  const itself = altered(messages[2]!, (event) => {
    event.prevhash = 'f'.repeat(64);
  });
  const after = await replayLog(sourceOf(messages.with(2, itself)));
  expect(after.findings).toMatchObject([{ revision: 3, check: 'chain' }]);
  expect(after.findings[0]!.what).toContain('this event was altered');
});

test('names missing revisions, also at the end of the log', async () => {
  const { findings } = await replayLog(sourceOf(messages.toSpliced(2, 2)));
  expect(findings[0]).toMatchObject({ revision: 3, model: null, what: 'Revisions 3 to 4 are missing.' });
  const cut = await replayLog(sourceOf(messages.slice(0, -1), messages.length));
  expect(cut.findings).toMatchObject([{ revision: 9, model: null, what: 'Revision 9 is missing.' }]);
});

test('a broken model does not stop the replay of other models', async () => {
  const book = createLogbook();
  for (const model of ['fraud', 'churn', 'fraud', 'churn']) {
    const version = `1.${book.messages.length}.0`;
    book.give(publish, model, { version, artifacts: [file()], requires: {} }, { at: at(0) });
  }
  const broken = { ...book.messages[0]!, body: Buffer.from('{') };
  const { findings, models } = await replayLog(sourceOf(book.messages.with(0, broken)));
  expect(findings).toMatchObject([{ revision: 1, model: 'fraud', check: 'encoding', unchecked: 1 }]);
  expect([...models.get('churn')!.versions.keys()]).toEqual(['1.1.0', '1.3.0']);
});

test('limits the moves that are kept, and accepts a rollback to an older move', async () => {
  const book = createLogbook();
  const given = { at: at(0) };
  const environment = 'dev';
  const move = (version: string) => book.give(activate, 'fraud', { version, environment }, given);
  for (const version of ['0.1.0', '0.2.0', '1.0.0', '1.1.0']) {
    book.give(publish, 'fraud', { version, artifacts: [file()], requires: {} }, given);
  }
  for (const version of ['0.1.0', '0.2.0']) move(version);
  for (let i = 0; i < MAX_STACK; i++) move(i % 2 ? '1.1.0' : '1.0.0');
  book.give(rollBack, 'fraud', { environment, to_version: '0.2.0', reason: 'far back' }, given);
  move('1.0.0');
  for (const reason of ['back', 'and further']) book.give(rollBack, 'fraud', { environment, reason }, given);
  const { findings, models } = await replayLog(sourceOf(book.messages));
  expect(findings).toEqual([]);
  expect(models.get('fraud')!.environments.get(environment)!.stack).toMatchObject([{ version: '0.1.0' }]);
});

test('does not treat an event as a move because of unknown fields', async () => {
  const data = { version: '1.0.0', notes: 'x', previous: null, environment: 'dev' };
  expect(await found('notes.changed', data)).toBe('nothing');
});
