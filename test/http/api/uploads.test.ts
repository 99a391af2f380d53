import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { onVolume } from '../../../src/artifacts/artifacts.ts';
import { openVolumeStore } from '../../../src/artifacts/stores/volume.ts';
import { openUnfinishedUploads } from '../../../src/artifacts/unfinished-uploads.ts';
import { digestOfBytes, someBytes } from '../../support/bytes.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { createTestApp, tokenOf } from '../support.ts';

const MIB = 1024 * 1024;
const ana = await tokenOf('ana', 'admin');
const ben = await tokenOf('ben', 'admin');
const PARTIAL = { 'Content-Type': 'application/partial-upload' };
const REST = { 'Upload-Complete': '?1', ...PARTIAL };
const MORE = { 'Upload-Complete': '?0', ...PARTIAL };

const bytes = someBytes(4 * MIB) as Buffer<ArrayBuffer>;
const digest = digestOfBytes(bytes);
const path = `/api/uploads/${digest}`;

type TestApp = Awaited<ReturnType<typeof createTestApp>>;

/** A body whose sender leaves after these bytes. */
function cutAfter(sent: Uint8Array): Readable {
  return Readable.from(
    (async function* () {
      yield Buffer.from(sent);
      throw new Error('aborted');
    })(),
  );
}

/** Sends the first half with PUT, and leaves. */
async function cutPut({ request }: TestApp, caller = ana, sent = bytes.subarray(0, 2 * MIB)): Promise<void> {
  const headers = { ...caller, 'Content-Length': String(bytes.length) };
  const answer = await request(`/api/blobs/${digest}`, { method: 'PUT', headers, body: cutAfter(sent) });
  expect([answer.status, await answer.json()]).toMatchObject([400, { code: 'invalid-request' }]);
}

async function patch({ request }: TestApp, offset: unknown, body: Buffer<ArrayBuffer> | Readable, headers = REST) {
  const all = { ...ana, 'Upload-Offset': String(offset), ...headers };
  return request(path, { method: 'PATCH', headers: all, body });
}

async function stateOf({ request }: TestApp, caller = ana) {
  const answer = await request(path, { method: 'HEAD', headers: caller });
  expect([answer.status, await answer.text()]).toEqual([204, '']);
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.headers.get('upload-limit')).toBe('max-age=86400');
  return [Number(answer.headers.get('upload-offset')), answer.headers.get('upload-complete')];
}

async function stored({ services }: TestApp): Promise<boolean> {
  return (await services.artifacts.store.stat(digest)) !== null;
}

const unfinished = (app: TestApp) => readdir(join(app.volume, 'blobs/unfinished'));

describe('an upload that was cut', () => {
  it('goes on where it ended', async () => {
    const app = await createTestApp();
    expect(await stateOf(app)).toEqual([0, '?0']);
    await cutPut(app);
    const [offset] = await stateOf(app);
    expect(offset).toBe(2 * MIB);
    const answer = await patch(app, offset, bytes.subarray(2 * MIB) as Buffer<ArrayBuffer>);
    expect([answer.status, await answer.json()]).toEqual([201, { digest, size: bytes.length }]);
    expect(answer.headers.get('upload-complete')).toBe('?1');
    expect(await stateOf(app)).toEqual([bytes.length, '?1']);
    expect((await readFile(join(app.volume, 'blobs', digest.replace(':', '/')))).equals(bytes)).toBe(true);
    expect(await unfinished(app)).toEqual([]);
  });

  it('can be cut again, and sent in parts', async () => {
    const app = await createTestApp();
    await cutPut(app);
    const cut = await patch(app, 2 * MIB, cutAfter(bytes.subarray(2 * MIB, 3 * MIB)));
    expect(cut.status).toBe(400);
    expect(await stateOf(app)).toEqual([3 * MIB, '?0']);
    const more = await patch(app, 3 * MIB, bytes.subarray(3 * MIB, 3 * MIB + 5) as Buffer<ArrayBuffer>, MORE);
    expect([more.status, more.headers.get('upload-complete'), await more.text()]).toEqual([204, '?0', '']);
    expect((await patch(app, 3 * MIB + 5, bytes.subarray(3 * MIB + 5) as Buffer<ArrayBuffer>, MORE)).status).toBe(204);
    expect(await stored(app)).toBe(false);
    expect((await patch(app, bytes.length, Buffer.alloc(0))).status).toBe(201);
    expect(await stored(app)).toBe(true);
  });

  it('is kept for its caller only', async () => {
    const app = await createTestApp();
    await cutPut(app);
    expect(await stateOf(app, ben)).toEqual([0, '?0']);
    const answer = await app.request(path, {
      method: 'PATCH',
      headers: { ...ben, ...REST, 'Upload-Offset': String(2 * MIB) },
      body: bytes.subarray(2 * MIB) as Buffer<ArrayBuffer>,
    });
    expect([answer.status, await answer.json()]).toMatchObject([409, { expected_offset: 0 }]);
    expect(await stateOf(app)).toEqual([2 * MIB, '?0']);
  });

  it('keeps the longer of two parts', async () => {
    const app = await createTestApp();
    await cutPut(app, ana, bytes.subarray(0, 3 * MIB));
    await cutPut(app, ana, bytes.subarray(0, 2 * MIB));
    expect(await stateOf(app)).toEqual([3 * MIB, '?0']);
    expect(await unfinished(app)).toHaveLength(1);
  });

  it('is forgotten when all of it is sent again', async () => {
    const app = await createTestApp();
    await cutPut(app);
    const headers = { ...ana, 'Content-Length': String(bytes.length) };
    const answer = await app.request(`/api/blobs/${digest}`, { method: 'PUT', headers, body: bytes });
    expect([answer.status, answer.headers.get('upload-complete')]).toEqual([201, null]);
    expect(await unfinished(app)).toEqual([]);
  });

  it('is not kept if it is small', async () => {
    const app = await createTestApp();
    await cutPut(app, ana, bytes.subarray(0, 1_000));
    expect(await stateOf(app)).toEqual([0, '?0']);
    expect(await unfinished(app)).toEqual([]);
  });

  it('is refused and dropped if its bytes changed on the disk', async () => {
    const app = await createTestApp();
    await cutPut(app);
    const [name] = await unfinished(app);
    const file = join(app.volume, 'blobs/unfinished', name!);
    const kept = await readFile(file);
    kept[77]! ^= 1;
    await writeFile(file, kept);
    const answer = await patch(app, 2 * MIB, bytes.subarray(2 * MIB) as Buffer<ArrayBuffer>);
    expect([answer.status, await answer.json()]).toMatchObject([400, { code: 'checksum-mismatch', expected: digest }]);
    expect(await stateOf(app)).toEqual([0, '?0']);
    expect([await unfinished(app), await stored(app)]).toEqual([[], false]);
  });

  it.each([
    ['too few', bytes.subarray(2 * MIB, 3 * MIB)],
    ['too many', Buffer.concat([bytes.subarray(2 * MIB), Buffer.from('more')])],
    ['none', Buffer.alloc(0)],
  ])('is refused and dropped if the last bytes are %s', async (_, rest) => {
    const app = await createTestApp();
    await cutPut(app);
    const answer = await patch(app, 2 * MIB, rest as Buffer<ArrayBuffer>);
    expect(await answer.json()).toMatchObject({ code: 'checksum-mismatch' });
    expect([await unfinished(app), await stored(app)]).toEqual([[], false]);
  });
});

describe('an upload is not begun or continued', () => {
  it.each([
    [0, 409],
    [2 * MIB - 1, 409],
    [2 * MIB + 1, 409],
    [Number.MAX_SAFE_INTEGER, 400],
    [999_999_999_999_999, 409],
    [-1, 400],
    ['1e3', 400],
    ['0x10', 400],
    ['2097152.0', 400],
    ['two', 400],
    ['', 400],
  ])('at the offset %s', async (offset, status) => {
    const app = await createTestApp();
    await cutPut(app);
    const answer = await patch(app, offset, bytes.subarray(2 * MIB) as Buffer<ArrayBuffer>);
    expect(answer.status).toBe(status);
    const problem = (await answer.json()) as Record<string, unknown>;
    if (status === 409) {
      expect(problem).toMatchObject({ code: 'mismatching-upload-offset', expected_offset: 2 * MIB });
      expect(problem.provided_offset).toBe(offset);
      expect(answer.headers.get('upload-offset')).toBe(String(2 * MIB));
    } else expect(problem.code).toBe('invalid-request');
    expect(await stateOf(app)).toEqual([2 * MIB, '?0']);
  });

  it.each([
    [{ 'Upload-Offset': '0', 'Upload-Complete': '?1' }, 'unsupported-media-type'],
    [
      { 'Upload-Offset': '0', 'Upload-Complete': '?1', 'Content-Type': 'application/octet-stream' },
      'unsupported-media-type',
    ],
    [{ 'Upload-Complete': '?1', ...PARTIAL }, 'invalid-request'],
    [{ 'Upload-Offset': '0', ...PARTIAL }, 'invalid-request'],
    [{ 'Upload-Offset': '0', 'Upload-Complete': 'true', ...PARTIAL }, 'invalid-request'],
    [{ 'Upload-Offset': '0', 'Upload-Complete': '1', ...PARTIAL }, 'invalid-request'],
  ])('with the headers %j', async (headers, code) => {
    const app = await createTestApp();
    const all = { ...ana, ...(headers as Record<string, string>) };
    const answer = await app.request(path, { method: 'PATCH', headers: all, body: bytes });
    expect(await answer.json()).toMatchObject({ code });
    expect([await unfinished(app), await stored(app)]).toEqual([[], false]);
  });

  it.each([
    'sha256:..%2f..%2f..%2fescape',
    `sha256:${'A'.repeat(64)}`,
    `sha512:${'0'.repeat(64)}`,
    `sha256:${'0'.repeat(63)}`,
    `sha256:${'0'.repeat(64)}%00`,
    `sha256:${'0'.repeat(64)}.x`,
    '%2e%2e',
  ])('with the digest %s', async (name) => {
    const app = await createTestApp();
    const headers = { ...ana, 'Upload-Offset': '0', ...MORE };
    const answer = await app.request(`/api/uploads/${name}`, { method: 'PATCH', headers, body: bytes });
    expect([400, 404]).toContain(answer.status);
    expect((await app.request(`/api/uploads/${name}`, { method: 'HEAD', headers: ana })).ok).toBe(false);
    expect(await unfinished(app)).toEqual([]);
  });

  it('without the permission to publish', async () => {
    const app = await createTestApp();
    const user = await tokenOf('carl', 'user');
    const headers = { ...user, 'Upload-Offset': '0', ...REST };
    for (const method of ['PATCH', 'HEAD', 'GET']) {
      const answer = await app.request(path, { method, headers, ...(method === 'PATCH' && { body: 'x' }) });
      expect(answer.status, method).toBe(403);
    }
    expect((await app.request(path, { method: 'HEAD' })).status).toBe(401);
  });

  it('with a Content-Digest of other bytes', async () => {
    const app = await createTestApp();
    const other = Buffer.from(digestOfBytes(Buffer.from('other')).slice('sha256:'.length), 'hex').toString('base64');
    const answer = await patch(app, 0, bytes, { ...MORE, 'Content-Digest': `sha-256=:${other}:` } as typeof MORE);
    expect(await answer.json()).toMatchObject({ code: 'checksum-mismatch' });
    expect(await unfinished(app)).toEqual([]);
  });
});

it('tells nobody of a blob that the caller may not know', async () => {
  const grants = [
    { allow: ['publish' as const], models: ['*'], subject: 'ana' },
    { allow: ['publish' as const, 'read' as const], models: ['*'], subject: 'ben' },
  ];
  const app = await createTestApp({ policy: { grants, limits: [] } });
  await app.services.artifacts.store.put(digest, Readable.from([bytes]));
  expect(await stateOf(app, ana)).toEqual([0, '?0']);
  expect(await stateOf(app, ben)).toEqual([bytes.length, '?1']);
  expect((await patch(app, 0, bytes)).status).toBe(200);
  expect(await stateOf(app, ana), 'now she has sent it').toEqual([bytes.length, '?1']);
});

it('answers a GET with JSON', async () => {
  const app = await createTestApp();
  await cutPut(app);
  const answer = await app.request(path, { headers: ana });
  expect(await answer.json()).toEqual({ digest, upload_offset: 2 * MIB, upload_complete: false });
});

describe('two requests of one upload', () => {
  it('a newer one ends the older one, and goes on with what arrived of it', async () => {
    const app = await createTestApp();
    const first = new PassThrough();
    const older = patch(app, 0, first);
    first.write(bytes.subarray(0, 2 * MIB));
    await once(first, 'drain');
    const [offset] = await stateOf(app);
    expect([first.destroyed, (await older).status]).toEqual([true, 400]);
    expect(offset).toBeGreaterThanOrEqual(MIB);
    expect((await patch(app, offset, bytes.subarray(Number(offset)) as Buffer<ArrayBuffer>)).status).toBe(201);
  });

  it('a question for the offset ends a PUT that hangs', async () => {
    const app = await createTestApp();
    const first = new PassThrough();
    const headers = { ...ana, 'Content-Length': String(bytes.length) };
    const older = app.request(`/api/blobs/${digest}`, { method: 'PUT', headers, body: first });
    first.write(bytes.subarray(0, 3 * MIB));
    await once(first, 'drain');
    const [offset] = await stateOf(app);
    expect((await older).status).toBe(400);
    expect(offset).toBeGreaterThanOrEqual(MIB);
  });

  it('of many at once one completes it, and all others are refused', async () => {
    const app = await createTestApp();
    await cutPut(app);
    const rest = bytes.subarray(2 * MIB) as Buffer<ArrayBuffer>;
    const answers = await Promise.all(Array.from({ length: 8 }, () => patch(app, 2 * MIB, rest)));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([201, ...Array(7).fill(409)]);
    expect(await stateOf(app)).toEqual([bytes.length, '?1']);
    expect(await unfinished(app)).toEqual([]);
  });

  it('two callers send the same bytes beside each other', async () => {
    const app = await createTestApp();
    await cutPut(app, ana);
    await cutPut(app, ben);
    const rest = bytes.subarray(2 * MIB) as Buffer<ArrayBuffer>;
    const asked = (caller: typeof ana) => {
      const headers = { ...caller, 'Upload-Offset': String(2 * MIB), ...REST };
      return app.request(path, { method: 'PATCH', headers, body: rest });
    };
    const answers = await Promise.all([asked(ana), asked(ben)]);
    for (const answer of answers) expect([200, 201]).toContain(answer.status);
  });
});

it('too many unfinished uploads are refused', async () => {
  const limits = { caller: { uploads: 2, bytes: 5 * MIB }, all: { uploads: 3, bytes: 6 * MIB } };
  const volume = await temporaryFolder();
  const artifacts = onVolume(await openVolumeStore(volume));
  const uploads = await openUnfinishedUploads(volume, artifacts, limits);
  const app = { ...(await createTestApp({ artifacts, uploads })), volume };
  const begin = async (caller: typeof ana, seed: number, size: number) => {
    const other = `/api/uploads/${digestOfBytes(Buffer.from(String(seed)))}`;
    const headers = { ...caller, 'Upload-Offset': '0', ...MORE, 'Content-Length': String(size) };
    const answer = await app.request(other, {
      method: 'PATCH',
      headers,
      body: bytes.subarray(0, size) as Buffer<ArrayBuffer>,
    });
    return answer.status === 204 ? 'kept' : ((await answer.json()) as { code: string }).code;
  };
  expect(await begin(ana, 1, 6 * MIB - 1)).toBe('too-many-uploads');
  expect(await begin(ana, 1, MIB)).toBe('kept');
  expect(await begin(ana, 2, MIB)).toBe('kept');
  expect(await begin(ana, 3, MIB)).toBe('too-many-uploads');
  expect(await begin(ben, 4, 4 * MIB + 1)).toBe('too-many-uploads');
  expect(await begin(ben, 4, MIB)).toBe('kept');
  expect(await begin(ben, 5, MIB)).toBe('too-many-uploads');
  // A PUT that is cut has nobody to refuse: it is not kept.
  await cutPut(app);
  expect(await stateOf(app)).toEqual([0, '?0']);
  expect(await unfinished(app)).toHaveLength(3);
});

it('the specification names the routes', async () => {
  const app = await createTestApp();
  const { paths } = (await (await app.request('/openapi.json')).json()) as { paths: Record<string, Operations> };
  const { get, patch } = paths['/api/uploads/{digest}']!;
  expect([get['x-permission'], patch['x-permission']]).toEqual(['publish', 'publish']);
  expect(patch.responses['409']!.description).toContain('mismatching-upload-offset');
});

type Operations = Record<
  'get' | 'patch',
  { 'x-permission': string; responses: Record<string, { description: string }> }
>;
