import { expect, test } from 'vitest';
import { createBlobAccess } from '../../src/access/blob-access.ts';
import { DEFAULT_POLICY, type Identity, type Policy } from '../../src/access/policy.ts';
import type { References } from '../../src/artifacts/references/references.ts';
import { activate } from '../../src/commands/activate.ts';
import type { Command } from '../../src/commands/command.ts';
import { createExecute, type ExecuteOptions } from '../../src/commands/execute.ts';
import { internalIssuer } from '../../src/commands/issuer.ts';
import { notes } from '../../src/commands/notes.ts';
import { publish } from '../../src/commands/publish.ts';
import { rollback } from '../../src/commands/rollback.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { Problem, type ProblemCode } from '../../src/domain/errors.ts';
import type { Model } from '../../src/domain/model.ts';
import { ModelInMemory } from '../support/model-in-memory.ts';
import { file, given, published } from './support.ts';

const policy: Policy = {
  ...DEFAULT_POLICY,
  grants: [
    ...DEFAULT_POLICY.grants,
    { subject: 'ops', allow: ['activate'], models: ['fraud'], environments: ['staging'] },
    { subject: 'lead', allow: ['activate', 'force'], models: ['fraud'] },
    { subject: 'pipeline', allow: ['publish'], models: ['fraud'] },
  ],
};
const models = new Map<string, Model>([
  ['fraud', given(published('1.0.0')).model],
  ['secret', given(published('1.0.0', { artifacts: [file('secret.bin')] })).model],
]);

/** Without NATS: a command that passes the checks of rights ends with `log-unavailable`. */
function executeWithoutLog(verify: References['verify'] = fail) {
  const blobAccess = createBlobAccess(policy, modelsWith);
  const folded = {
    live: () => false,
    model: (name: string) => models.get(name) ?? new ModelInMemory(name),
    frozen: () => null,
  };
  const references = { verify, withFound: () => ({}) };
  const environments = ['production', 'staging'];
  const options = { policy, blobAccess, folded, artifacts: {}, references, environments };
  return { execute: createExecute(options as unknown as ExecuteOptions), blobAccess };
}

function modelsWith(digest: Digest): string[] {
  const contains = (model: Model) =>
    model.version('1.0.0')!.manifest.artifacts.some((artifact) => artifact.digest === digest);
  return [...models].flatMap(([name, model]) => (contains(model) ? [name] : []));
}

const as = (actor: string): Identity => ({ actor, role: null, groups: [] });

async function codeOf<Input extends object>(command: Command<Input>, model: string, input: unknown, actor: string) {
  const issuer = { identity: as(actor), request_id: 'r1' };
  return executeWithoutLog()
    .execute(command, model, command.input.parse(input), issuer)
    .then(fail, ({ code }) => code);
}

function fail(): never {
  throw new Error('the command must not succeed without a log');
}

const version = '1.0.0';
const reason = 'worse';

test.each<[string, ProblemCode, string, Command<never>, string, object]>([
  [
    'an activation in an environment of the grant',
    'log-unavailable',
    'ops',
    activate,
    'fraud',
    { version, environment: 'staging' },
  ],
  ['an activation in another environment', 'forbidden', 'ops', activate, 'fraud', { version }],
  ['a rollback in another environment', 'forbidden', 'ops', rollback, 'fraud', { reason }],
  ['an activation of another model', 'forbidden', 'lead', activate, 'secret', { version }],
  [
    'force without its permission',
    'forbidden',
    'ops',
    activate,
    'fraud',
    { version, environment: 'staging', force: true },
  ],
  ['force with its permission', 'log-unavailable', 'lead', activate, 'fraud', { version, force: true }],
  ['a dry run without the permission', 'forbidden', 'ops', activate, 'fraud', { version, dry_run: true }],
  ['notes with only the permission to activate', 'forbidden', 'lead', notes, 'fraud', { version, notes: 'n' }],
  [
    'a version of bytes that another caller sent',
    'artifact-missing',
    'pipeline',
    publish,
    'fraud',
    { version: '2.0.0', artifacts: [file('secret.bin')] },
  ],
] as never)('%s: %s', async (_name, code, actor, command, model, input) => {
  expect(await codeOf(command, model, input, actor)).toBe(code);
});

test('a caller may publish bytes that it sent itself, although another model contains them', async () => {
  const { execute, blobAccess } = executeWithoutLog();
  const artifacts = [file('secret.bin')];
  blobAccess.sent('pipeline', artifacts[0]!.digest);
  const input = publish.input.parse({ version: '2.0.0', artifacts, requires: {} });
  const issuer = { identity: as('pipeline'), request_id: 'r1' };
  await expect(execute(publish, 'fraud', input, issuer)).rejects.toMatchObject({ code: 'log-unavailable' });
});

test('a caller who named a source of the bytes may use them, and a source that has others gives no right', async () => {
  const artifacts = [{ ...file('secret.bin'), source: 's3://datasets/secret.bin' }];
  const input = publish.input.parse({ version: '2.0.0', artifacts, requires: {} });
  const issuer = { identity: as('pipeline'), request_id: 'r1' };
  const { digest, size, source } = artifacts[0]!;

  const found = executeWithoutLog(async () => [{ digest, size, source, etag: null }]);
  await expect(found.execute(publish, 'fraud', input, issuer)).rejects.toMatchObject({ code: 'log-unavailable' });
  expect(found.blobAccess.foreign(issuer.identity, [digest])).toEqual(new Set());

  const other = executeWithoutLog(async () => Promise.reject(new Problem('checksum-mismatch', 'Other bytes.')));
  await expect(other.execute(publish, 'fraud', input, issuer)).rejects.toMatchObject({ code: 'checksum-mismatch' });
  expect(other.blobAccess.foreign(issuer.identity, [digest])).toEqual(new Set([digest]));
  // Of a version that exists nothing is read, so the source gives no right.
  const existing = publish.input.parse({ ...input, version });
  await expect(other.execute(publish, 'fraud', existing, issuer)).rejects.toMatchObject({ code: 'artifact-missing' });
  // Without the permission, nothing is read either.
  const forbidden = other.execute(publish, 'secret', input, issuer);
  await expect(forbidden).rejects.toMatchObject({ code: 'forbidden' });
});

test('a part of the registry needs no permission', async () => {
  const { execute } = executeWithoutLog();
  const input = publish.input.parse({ version: '2.0.0', artifacts: [file('secret.bin')], requires: {} });
  await expect(execute(publish, 'fraud', input, internalIssuer('volume', 'r1'))).rejects.toMatchObject({
    code: 'log-unavailable',
  });
});
