import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { readSecret } from '../../src/access/secret.ts';
import { temporaryFolder } from '../support/folder.ts';
import { cliWith, type Program, startProgram } from '../support/program.ts';
import { artifactsOf, ok, problemOf, publish, shared, volumeFolder } from './support.ts';

const POLICY = `
grants:
  - { allow: all, role: admin }
  - { allow: [read], role: user }
  - { allow: all, group: mine, models: [mine-*], environments: [dev, staging] }
  - { allow: [activate], group: hasty }
limits:
  - { models: [mine-*], environments: [staging], activations_per_minute: 1 }
  - { activations_per_minute: 0 }
`;

const started = shared(async (ends) => {
  const policy = join(await temporaryFolder(ends), 'policy.yaml');
  await writeFile(policy, POLICY);
  const program = await startProgram(await volumeFolder(ends), { REGISTRY_POLICY: policy }, ends);
  await publish(program, '1.0.0', { 'model.txt': 'theirs' }, 'theirs');
  await publish(program, '1.0.0', { 'model.txt': 'ours' }, 'mine-1');
  return program;
});

/** Sends a request with a token of these claims; a text is sent as it is, anything else as JSON. */
async function askAs(claims: Record<string, unknown>, method: string, path: string, body?: unknown) {
  const program: Program = started();
  const secret = (await readSecret(program.volume))!;
  const token = new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setSubject('someone').setExpirationTime('5m');
  const raw = typeof body === 'string' || body === undefined;
  const type = raw ? 'application/octet-stream' : 'application/json';
  const headers = {
    Authorization: `Bearer ${await token.sign(secret)}`,
    ...(body !== undefined && { 'Content-Type': type }),
  };
  return fetch(program.url + path, {
    method,
    headers,
    ...(body !== undefined && { body: raw ? body : JSON.stringify(body) }),
  });
}

const MINE = { groups: ['mine'] };

interface Operation {
  method: string;
  path: string;
  permission: string | undefined;
}

async function operations(): Promise<Operation[]> {
  const document = await (await fetch(`${started().url}/openapi.json`)).json();
  const { paths } = document as { paths: Record<string, Record<string, { 'x-permission'?: string }>> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { 'x-permission': permission }]) => ({
      method: method.toUpperCase(),
      path,
      permission,
    })),
  );
}

function addressed(path: string, model: string): string {
  const named: Record<string, string> = {
    model,
    version: '1.0.0',
    path: 'model.txt',
    environment: 'dev',
    instance: 'i-1',
    digest: artifactsOf({ 'model.txt': 'theirs' })[0]!.digest,
  };
  return path.replace(/\{(\w+)\}/g, (_, name) => named[name]!);
}

describe('every route of the document', () => {
  it('refuses requests without a token, and callers without its permission', async () => {
    const guarded = (await operations()).filter(({ permission }) => permission !== undefined);
    expect(guarded.length).toBeGreaterThan(30);
    for (const { method, path, permission } of guarded) {
      const address = addressed(path, 'theirs');
      await problemOf(await fetch(started().url + address, { method }), 401, 'unauthenticated');
      if (permission === 'identified') continue;
      for (const claims of [{}, { role: 'nobody' }, { role: ['admin'] }, { groups: ['admin'] }]) {
        await problemOf(await askAs(claims, method, address), 403, 'forbidden');
      }
    }
  });

  it('refuses the role user everything but reading', async () => {
    for (const { method, path, permission } of await operations()) {
      if ([undefined, 'read', 'identified'].includes(permission)) continue;
      await problemOf(await askAs({ role: 'user' }, method, addressed(path, 'theirs')), 403, 'forbidden');
    }
  });

  it('refuses callers whose permissions do not include the model', async () => {
    for (const { method, path, permission } of await operations()) {
      // These are about the default model, or about no model: see below.
      if (permission === undefined || !path.includes('{model}')) continue;
      await problemOf(await askAs(MINE, method, addressed(path, 'theirs')), 403, 'forbidden');
    }
    const short = ['/models', '/models/latest', '/models?model=theirs', '/models/latest?model=theirs'];
    for (const path of ['/api/registry/models', '/api/registry/history', ...short]) {
      await problemOf(await askAs(MINE, 'GET', path), 403, 'forbidden');
    }
  });
});

describe('a caller with limited permissions', () => {
  it('is allowed what its permissions include', async () => {
    const activate = (environment: string) =>
      askAs(MINE, 'POST', '/api/models/mine-1/versions/1.0.0/activate', { environment });
    expect((await activate('dev')).status).toBe(200);
    await problemOf(await activate('production'), 403, 'forbidden');
    const production = await askAs(MINE, 'POST', '/api/models/mine-1/versions/1.0.0/activate', {});
    await problemOf(production, 403, 'forbidden'); // production is the default
    expect((await askAs(MINE, 'GET', '/api/models/mine-1/versions/active?environment=dev')).status).toBe(200);
    await problemOf(await askAs(MINE, 'GET', '/api/models/mine-1/versions/active'), 403, 'forbidden');
    expect((await askAs(MINE, 'GET', '/models?model=mine-1')).status).toBe(200);
    const { models } = (await (await askAs(MINE, 'GET', '/api/models')).json()) as { models: { model: string }[] };
    expect(models.map(({ model }) => model)).toEqual(['mine-1']);
  });

  it('moves an environment up to the limit of the policy, and beyond it only with force', async () => {
    const activate = (claims: object, version: string, more: object = {}) =>
      askAs({ ...claims }, 'POST', `/api/models/mine-2/versions/${version}/activate`, {
        environment: 'staging',
        ...more,
      });
    for (const version of ['1.0.0', '1.1.0', '1.2.0']) {
      await publish(started(), version, { 'model.txt': version }, 'mine-2');
    }
    expect((await activate(MINE, '1.0.0')).status).toBe(200);
    await problemOf(await activate(MINE, '1.1.0'), 429, 'too-many-activations');
    await problemOf(await activate({ groups: ['hasty'] }, '1.1.0', { force: true }), 403, 'forbidden');
    expect((await activate(MINE, '1.1.0', { force: true })).status).toBe(200);
    const { events } = await ok(started(), 'GET', '/api/models/mine-2/history?type=version.activated&page_size=1');
    expect(events[0].data).toMatchObject({ version: '1.1.0', forced: true });
  });

  it('gets no bytes of other models by their digest, nor through a version that it publishes', async () => {
    const [theirs] = artifactsOf({ 'model.txt': 'theirs' });
    const [ours] = artifactsOf({ 'model.txt': 'ours' });
    await problemOf(await askAs(MINE, 'GET', `/api/blobs/${theirs!.digest}`), 404, 'unknown-blob');
    expect((await askAs(MINE, 'GET', `/api/blobs/${ours!.digest}`)).status).toBe(200);
    const stolen = { version: '2.0.0', artifacts: [theirs] };
    const refused = await askAs(MINE, 'POST', '/api/models/mine-1/versions', stolen);
    await problemOf(refused, 409, 'artifact-missing');
    const wrongSize = { version: '2.0.0', artifacts: [{ ...theirs, size: theirs!.size + 1 }] };
    await problemOf(await askAs(MINE, 'POST', '/api/models/mine-1/versions', wrongSize), 409, 'artifact-missing');
    expect(
      (await askAs(MINE, 'POST', '/api/models/mine-1/versions', { version: '2.0.0', artifacts: [ours] })).status,
    ).toBe(201);
  });

  it('may publish bytes that it has sent itself, even if they existed before', async () => {
    await publish(started(), '1.1.0', { 'model.txt': 'known to both' }, 'theirs');
    const [artifact] = artifactsOf({ 'model.txt': 'known to both' });
    const put = await askAs(MINE, 'PUT', `/api/blobs/${artifact!.digest}`, 'known to both');
    expect(put.status).toBe(200);
    const body = { version: '2.1.0', artifacts: [artifact] };
    expect((await askAs(MINE, 'POST', '/api/models/mine-1/versions', body)).status).toBe(201);
  });
});

describe('the server', () => {
  it('does not start with an invalid policy or an incomplete identity provider', async () => {
    const volume = await volumeFolder();
    const policy = join(await temporaryFolder(), 'policy.yaml');
    await writeFile(policy, 'grants: [{ allow: [fly], role: user }]');
    const common = { REGISTRY_VOLUME: volume, PORT: '0' };
    const wrong = await cliWith({ ...common, REGISTRY_POLICY: policy }, 'serve');
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('policy.yaml is not valid')]);
    const half = await cliWith({ ...common, REGISTRY_JWKS_URL: 'https://login.example.org/jwks' }, 'serve');
    expect([half.code, half.stderr]).toEqual([1, expect.stringContaining('REGISTRY_JWT_ISSUER')]);
  });

  it('shows everything to admins', async () => {
    const { models } = await ok(started(), 'GET', '/api/models');
    expect(models.map(({ model }: { model: string }) => model).sort()).toEqual(
      expect.arrayContaining(['mine-1', 'theirs']),
    );
  });
});
