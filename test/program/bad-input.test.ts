import { randomBytes } from 'node:crypto';
import { statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openVolumeStore } from '../../src/artifacts/stores/volume.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { subjectOf } from '../../src/log/stream.ts';
import { temporaryFolder } from '../support/folder.ts';
import { connected, startNats } from '../support/nats.ts';
import { startProgram } from '../support/program.ts';
import {
  artifactsOf,
  type Body,
  emptyProgram,
  type Files,
  formOf,
  ok,
  problemOf,
  publish,
  rawSocket,
  send,
  sha256,
  shared,
  stored,
  until,
  versionForm,
  visible,
  volumeFolder,
  wholeHistory,
} from './support.ts';

const VERSIONS = '/api/models/default/versions';
/** Whether a path in `blobs/` is a file that a request is writing, or that one left to go on with. */
const isUpload = (path: string) => path.startsWith('upload-') || /^unfinished\/./.test(path);
const FILES: Files = { 'model.bin': 'the model', 'metadata.json': '{"python":"3.11.7"}' };

describe('a refused request stores nothing', () => {
  const program = shared(async (ends) => {
    const program = await emptyProgram(ends);
    await publish(program, '1.0.0');
    await ok(program, 'POST', `${VERSIONS}/1.0.0/activate`);
    return program;
  });

  /** Returns the refusal, after checking that nothing changed. */
  async function refused(request: () => Promise<Response>, status: number, code: string) {
    const before = await stored(program());
    const problem = await problemOf(await request(), status, code);
    expect(await stored(program())).toEqual(before);
    return problem;
  }

  /** The same for an upload: complete files are left to the collector, and nothing else is stored. */
  async function refusedUpload(request: () => Promise<Response>, status: number, code: string) {
    const before = await stored(program());
    const problem = await problemOf(await request(), status, code);
    const { blobs, ...rest } = await stored(program());
    expect({ ...rest, blobs: blobs.filter((path) => before.blobs.includes(path)) }).toEqual(before);
    expect(blobs.filter((path) => path.startsWith('upload-'))).toEqual([]);
    return problem;
  }

  const post = (form: FormData) => () => send(program(), 'POST', VERSIONS, form);
  const manifest = (more: object = {}) => JSON.stringify({ version: '2.0.0', artifacts: artifactsOf(FILES), ...more });
  const json = (method: string, path: string, body: unknown) => () => program().ask(method, path, body);
  const typed = (method: string, path: string, body: Body, type = 'application/json') =>
    send(program(), method, path, body, { 'Content-Type': type });

  describe('multipart', () => {
    it('with other bytes than announced, naming the file and both digests', async () => {
      const form = formOf([
        ['manifest', manifest()],
        ['metadata.json', FILES['metadata.json']!],
        ['model.bin', 'the modem'],
      ]);
      expect(await refusedUpload(post(form), 400, 'checksum-mismatch')).toMatchObject({
        path: 'model.bin',
        expected: sha256('the model'),
        actual: sha256('the modem'),
      });
    });

    it.each(['the mode', 'the model and more'])('with another size: %s', async (content) => {
      const form = formOf([
        ['manifest', manifest()],
        ['model.bin', content],
      ]);
      expect(await refusedUpload(post(form), 400, 'checksum-mismatch')).toMatchObject({
        path: 'model.bin',
        expected: 9,
      });
    });

    it('with a missing part', async () => {
      const form = formOf([
        ['manifest', manifest()],
        ['model.bin', FILES['model.bin']!],
      ]);
      expect(await refusedUpload(post(form), 400, 'invalid-request')).toMatchObject({ missing: ['metadata.json'] });
    });

    it('with an extra part', async () => {
      const form = formOf([['manifest', manifest()], ...Object.entries(FILES), ['extra.bin', 'x']]);
      expect(await refusedUpload(post(form), 400, 'invalid-request')).toMatchObject({ path: 'extra.bin' });
    });

    it('with a repeated part', async () => {
      const form = formOf([['manifest', manifest()], ...Object.entries(FILES), ['model.bin', FILES['model.bin']!]]);
      expect(await refusedUpload(post(form), 400, 'invalid-request')).toMatchObject({ path: 'model.bin' });
    });

    it('with the manifest not first', async () => {
      const form = formOf([...Object.entries(FILES), ['manifest', manifest()]]);
      expect((await refusedUpload(post(form), 400, 'invalid-request')).detail).toContain('manifest');
    });

    it('without any part', async () => {
      await refusedUpload(post(new FormData()), 400, 'invalid-request');
    });

    it('with an extra part after as many files as a version may have', async () => {
      const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`${i}.txt`, 'same']));
      const form = versionForm({ version: '2.0.0' }, many);
      form.append('extra.txt', new Blob(['extra']));
      await refusedUpload(post(form), 400, 'invalid-request');
    });

    const boundary = { type: 'multipart/form-data; boundary=b' };
    const part = (name: string, content: string) =>
      `--b\r\nContent-Disposition: form-data; name="${name}"; filename="f"\r\n\r\n${content}\r\n`;

    it.each([
      ['that ends inside a file', `${part('manifest', manifest())}${part('model.bin', 'the mod')}`],
      ['that ends inside the manifest', part('manifest', manifest()).slice(0, -20)],
      [
        'without its last boundary',
        Object.entries(FILES).reduce((all, f) => all + part(...(f as [string, string])), part('manifest', manifest())),
      ],
      ['that is no multipart', 'hello'],
      ['that is empty', ''],
      ['whose parts have no headers', '--b\r\n\r\nx\r\n--b--\r\n'],
    ])('%s', async (_, body) => {
      await refusedUpload(() => typed('POST', VERSIONS, body, boundary.type), 400, 'invalid-request');
    });

    it('without a boundary', async () => {
      await refusedUpload(() => typed('POST', VERSIONS, 'x', 'multipart/form-data'), 400, 'invalid-request');
    });

    it('with a manifest that is not JSON, or has another shape', async () => {
      await refusedUpload(post(formOf([['manifest', '{"version":']])), 400, 'invalid-request');
      await refusedUpload(post(formOf([['manifest', '[]']])), 400, 'invalid-request');
    });

    it('with a manifest over its limit', async () => {
      const notes = {
        params: Object.fromEntries(Array.from({ length: 9000 }, (_, i) => [`parameter-${i}`, 'x'.repeat(20)])),
      };
      await refusedUpload(post(formOf([['manifest', manifest(notes)], ...Object.entries(FILES)])), 413, 'too-large');
      const larger = manifest({ tags: { t: 'x'.repeat(600_000) } });
      await refusedUpload(post(formOf([['manifest', larger], ...Object.entries(FILES)])), 413, 'too-large');
    });

    it('with metadata.json that is not JSON', async () => {
      const files = { 'metadata.json': 'not json' };
      const problem = await refusedUpload(post(versionForm({ version: '2.0.0' }, files)), 400, 'invalid-request');
      expect(problem).toMatchObject({ path: 'metadata.json' });
    });

    it('for a version that exists with other content', async () => {
      const form = versionForm({ version: '1.0.0' }, { 'other.bin': 'other' });
      expect(await refusedUpload(post(form), 409, 'version-exists')).toMatchObject({ version: '1.0.0' });
    });

    it('that is refused before a large rest of its body', async () => {
      const large = randomBytes(24 * 1024 * 1024);
      const form = formOf([
        ['manifest', manifest()],
        ['unlisted.bin', large],
      ]);
      await refusedUpload(post(form), 400, 'invalid-request');
    });

    it('keeps the blobs of a published version if another upload of them is refused', async () => {
      const form = formOf([
        ['manifest', JSON.stringify({ version: '3.0.0', artifacts: artifactsOf({ 'a.txt': '1.0.0', 'b.txt': 'b' }) })],
        ['a.txt', '1.0.0'],
        ['b.txt', 'c'],
      ]);
      await refusedUpload(post(form), 400, 'checksum-mismatch');
      expect(await (await program().ask('GET', `${VERSIONS}/1.0.0/files/a.txt`)).text()).toBe('1.0.0');
    });
  });

  describe('a file of an upload that is refused later stays', () => {
    const url = (digest: string) => `/api/blobs/${digest}`;
    const putSame = async (content: string) => {
      expect((await send(program(), 'PUT', url(sha256(content)), content)).ok).toBe(true);
    };

    /** An upload whose second file is wrong; the test sends it in pieces. */
    async function slowUpload(content: string) {
      const files = { 'a.txt': content, 'b.txt': `b of ${content}` };
      const { socket, received } = await rawSocket(program());
      const head = `POST ${VERSIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await program().token()}\r\n`;
      socket.write(`${head}Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n`);
      const say = (text: string) => socket.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
      const begin = (name: string) =>
        say(`--b\r\nContent-Disposition: form-data; name="${name}"; filename="f"\r\n\r\n`);
      begin('manifest');
      say(`${JSON.stringify({ version: '4.0.0', artifacts: artifactsOf(files) })}\r\n`);
      begin('a.txt');
      return {
        say,
        next() {
          say('\r\n');
          begin('b.txt');
        },
        async refuse() {
          say('other bytes\r\n--b--\r\n');
          socket.write('0\r\n\r\n');
          await until(() => received().includes('checksum-mismatch'));
          socket.destroy();
        },
      };
    }

    const whole = async (content: string) => {
      const response = await program().ask('GET', url(sha256(content)));
      expect([response.status, await response.text()]).toEqual([200, content]);
    };

    it.each([
      ['another publish took it up', '4.1.0', (content: string) => publish(program(), '4.1.0', { 'a.txt': content })],
      ['somebody put it, too', '4.2.0', putSame],
      ['somebody was told that it is there', '4.3.0', async () => undefined],
    ])('if %s after it arrived', async (_, name, meanwhile) => {
      const content = `shared for ${name}`;
      const upload = await slowUpload(content);
      upload.say(content);
      upload.next();
      await until(async () => (await program().ask('HEAD', url(sha256(content)))).ok);
      await meanwhile(content);
      await upload.refuse();
      await whole(content);
    });

    it('if another request stored it at the same time', async () => {
      const content = 'put by two at once';
      const upload = await slowUpload(content);
      upload.say(content.slice(0, 5));
      await until(async () => (await stored(program())).blobs.some((path) => path.startsWith('upload-')));
      await putSame(content);
      upload.say(content.slice(5));
      upload.next();
      await upload.refuse();
      await whole(content);
      const body = { version: '4.4.0', artifacts: artifactsOf({ 'a.txt': content }) };
      expect((await program().ask('POST', VERSIONS, body)).status).toBe(201);
    });
  });

  describe('PUT of a blob', () => {
    const blob =
      (bytes: Body, digest: string, headers = {}) =>
      () =>
        send(program(), 'PUT', `/api/blobs/${digest}`, bytes, headers);

    it('with other bytes', async () => {
      expect(await refused(blob('modem', sha256('model')), 400, 'checksum-mismatch')).toMatchObject({
        expected: sha256('model'),
        actual: sha256('modem'),
      });
      await refused(blob(null, sha256('model')), 400, 'checksum-mismatch');
    });

    it('with other bytes for a blob that exists', async () => {
      await refused(blob('modem', sha256('1.0.0')), 400, 'checksum-mismatch');
      expect(await (await program().ask('GET', `/api/blobs/${sha256('1.0.0')}`)).text()).toBe('1.0.0');
    });

    it.each(['sha256:abc', 'md5:d41d8cd98f00b204e9800998ecf8427e', `sha256:${'A'.repeat(64)}`, '..%2f..%2fx'])(
      'under %s',
      async (digest) => {
        await refused(blob('x', digest), 400, 'invalid-request');
      },
    );

    it('larger than the disk, before a byte is sent', async () => {
      const { bavail, bsize } = await statfs(program().volume);
      const { socket, received } = await rawSocket(program());
      const before = await stored(program());
      const head = `PUT /api/blobs/${sha256('huge')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await program().token()}`;
      socket.write(`${head}\r\nContent-Length: ${bavail * bsize}\r\n\r\n`);
      await until(() => received().includes('"code":"volume-full"'));
      expect(received()).toMatch(/^HTTP\/1\.1 507 /);
      socket.destroy();
      expect(await stored(program())).toEqual(before);
    });
  });

  it.each([
    ['before the end of the body', 300_000],
    ['in a chunked body', 300_000],
  ])('a small upload cut %s leaves nothing', async (how, size) => {
    const before = await stored(program());
    const bytes = randomBytes(size);
    const { socket } = await rawSocket(program());
    const length = how.includes('chunked') ? 'Transfer-Encoding: chunked' : `Content-Length: ${bytes.length}`;
    const head = `PUT /api/blobs/${sha256(bytes)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await program().token()}`;
    socket.write(`${head}\r\n${length}\r\n\r\n`);
    if (how.includes('chunked')) socket.write(`${(size - 100_000).toString(16)}\r\n`);
    socket.write(bytes.subarray(0, size - 100_000));
    await until(async () => (await stored(program())).blobs.some(isUpload));
    socket.destroy();
    await until(async () => JSON.stringify(await stored(program())) === JSON.stringify(before));
  });

  it('an upload that is received when the registry stops leaves only what it can go on with', async () => {
    const stopping = await emptyProgram(onTestFinished);
    const bytes = randomBytes(10_000_000);
    const { socket } = await rawSocket(stopping);
    const head = `PUT /api/blobs/${sha256(bytes)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await stopping.token()}`;
    socket.write(`${head}\r\nContent-Length: ${bytes.length}\r\n\r\n`);
    socket.write(bytes.subarray(0, 9_000_000));
    const blobs = async () => (await stored(stopping)).blobs;
    await until(async () => (await blobs()).some(isUpload));
    await stopping.stop();
    expect(stopping.process.exitCode).toBe(0);
    expect(await visible(join(stopping.volume, 'blobs'))).toEqual([
      'sha256/',
      'unfinished/',
      expect.stringMatching(/^unfinished\/[0-9a-f-]+(\.[0-9a-f-]+)?$/),
    ]);
  });

  it('a multipart upload cut in its second file leaves nothing of that one', async () => {
    const before = await stored(program());
    const files = { 'a.bin': randomBytes(100_000), 'b.bin': randomBytes(300_000) };
    const manifest = JSON.stringify({ version: '2.0.0', artifacts: artifactsOf(files) });
    const { socket } = await rawSocket(program());
    const head = `POST ${VERSIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await program().token()}`;
    socket.write(`${head}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 900000\r\n\r\n`);
    const part = (name: string, content: string | Uint8Array) => {
      socket.write(`--b\r\nContent-Disposition: form-data; name="${name}"; filename="f"\r\n\r\n`);
      socket.write(content);
    };
    part('manifest', manifest);
    socket.write('\r\n');
    part('a.bin', files['a.bin']);
    socket.write('\r\n');
    part('b.bin', files['b.bin'].subarray(0, 200_000));
    const blobs = async () => (await stored(program())).blobs;
    const first = sha256(files['a.bin']).replace(':', '/');
    await until(
      async () => (await blobs()).includes(first) && (await blobs()).some((path) => path.startsWith('upload-')),
    );
    socket.destroy();
    await until(async () => !(await blobs()).some((path) => path.startsWith('upload-')));
    expect(await blobs()).toEqual([...before.blobs, first].sort());
  });

  describe('JSON', () => {
    const artifact = { path: 'a.txt', digest: sha256('1.0.0'), size: 5 };
    const version = (more: object) => ({ version: '2.0.0', artifacts: [artifact], ...more });
    const withPath = (path: string) => version({ artifacts: [{ ...artifact, path }] });

    it.each([
      '../x',
      '/etc/passwd',
      'a/../../x',
      './x',
      'a//b',
      '',
      '..',
      'a\\..\\b',
      'C:\\x',
      'a\u0000b',
      'a/',
      'x'.repeat(300),
    ])('with the path %j', async (path) => {
      const problem = await refused(json('POST', VERSIONS, withPath(path)), 400, 'invalid-request');
      expect(problem).toMatchObject({ in: 'body', errors: [{ field: 'artifacts.0.path' }] });
    });

    it('with two paths that are the same file on some systems', async () => {
      const twice = (a: string, b: string) => version({ artifacts: [a, b].map((path) => ({ ...artifact, path })) });
      await refused(json('POST', VERSIONS, twice('a', 'a')), 400, 'invalid-request');
      await refused(json('POST', VERSIONS, twice('a', 'A')), 400, 'invalid-request');
      await refused(json('POST', VERSIONS, twice('a', 'a/b')), 400, 'invalid-request');
    });

    it.each([
      'v1.0.0',
      '1.0',
      '1',
      '01.0.0',
      '1.0.0+build',
      ' 1.0.0',
      'latest',
      '../1.0.0',
      '1.0.0\n',
      `1.0.0-${'x'.repeat(200)}`,
    ])('with the version %j', async (name) => {
      await refused(json('POST', VERSIONS, version({ version: name })), 400, 'invalid-request');
    });

    it.each([
      ['no version', { version: undefined }],
      ['version and bump', { bump: 'minor' }],
      ['no artefacts', { artifacts: [] }],
      ['an unknown field', { colour: 'red' }],
      ['a metric that is no number', { metrics: { auc: 'high' } }],
      ['an impossible range', { requires: { python: 'eleven' } }],
      ['a negative size', { artifacts: [{ ...artifact, size: -1 }] }],
      ['a broken digest', { artifacts: [{ ...artifact, digest: 'sha256:x' }] }],
      ['notes over 16 KiB', { notes: 'é'.repeat(8193) }],
    ])('with %s', async (_, more) => {
      await refused(json('POST', VERSIONS, version(more)), 400, 'invalid-request');
    });

    it('that lists bytes that are not stored', async () => {
      const gone = version({ artifacts: [{ path: 'a.txt', digest: sha256('gone'), size: 4 }] });
      expect(await refused(json('POST', VERSIONS, gone), 409, 'artifact-missing')).toMatchObject({ path: 'a.txt' });
    });

    it('that lists stored bytes with another size', async () => {
      const other = version({ artifacts: [{ ...artifact, size: artifact!.size + 1 }] });
      const problem = await refused(json('POST', VERSIONS, other), 400, 'checksum-mismatch');
      expect(problem).toMatchObject({ path: artifact!.path, expected: artifact!.size + 1, actual: artifact!.size });
    });

    it.each([
      ['POST', `${VERSIONS}/1.0.0/activate`, { environment: 5 }],
      ['POST', `${VERSIONS}/1.0.0/activate`, { environement: 'dev' }],
      ['POST', `${VERSIONS}/1.0.0/activate`, { environment: 'dev', actor: 'somebody' }],
      ['POST', '/api/models/default/rollback', {}],
      ['POST', '/api/models/default/rollback', { reason: '   ' }],
      ['POST', '/api/models/default/rollback', { reason: 'r', override: ['everything'] }],
      ['POST', '/api/models/default/deactivate', { environment: 'production' }],
      ['PATCH', `${VERSIONS}/1.0.0/notes`, {}],
      ['PATCH', `${VERSIONS}/1.0.0/notes`, { notes: null }],
      ['PUT', '/api/models/default/environments/dev/runtime', { python: 'three' }],
      ['POST', `${VERSIONS}/1.0.0/archive`, []],
    ])('that does not match the schema: %s %s %j', async (method, path, body) => {
      expect(await refused(json(method, path, body), 400, 'invalid-request')).toMatchObject({ in: 'body' });
    });

    it.each(['{', 'nonsense', '{"notes":"a"', '\u0000', '{"notes":"a"}{}'])('that is not JSON: %j', async (body) => {
      await refused(() => typed('PATCH', `${VERSIONS}/1.0.0/notes`, body), 400, 'invalid-request');
    });

    it('that is not UTF-8', async () => {
      const body = Buffer.concat([Buffer.from('{"notes":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]);
      await refused(() => typed('PATCH', `${VERSIONS}/1.0.0/notes`, body), 400, 'invalid-request');
    });

    it('with half of a surrogate pair', async () => {
      for (const text of ['\\ud800', 'a\\udc00b']) {
        const notes = `{"notes":"${text}"}`;
        await refused(() => typed('PATCH', `${VERSIONS}/1.0.0/notes`, notes), 400, 'invalid-request');
        const reason = `{"reason":"${text}"}`;
        await refused(() => typed('POST', '/api/models/default/deactivate', reason), 400, 'invalid-request');
        const tags = JSON.stringify(version({ tags: { t: 'TEXT' } })).replace('TEXT', text);
        await refused(() => typed('POST', VERSIONS, tags), 400, 'invalid-request');
      }
      const tags = manifest({ tags: { t: 'TEXT' } }).replace('TEXT', '\\ud800');
      await refused(post(formOf([['manifest', tags], ...Object.entries(FILES)])), 400, 'invalid-request');
    });

    it.each([1000, 100_000])('%d levels deep', async (levels) => {
      const deep = `${'['.repeat(levels)}${']'.repeat(levels)}`;
      const notes = `{"notes":${deep}}`;
      await refused(() => typed('PATCH', `${VERSIONS}/1.0.0/notes`, notes), 400, 'invalid-request');
      const body = JSON.stringify(version({ version: `7.${levels}.0`, signature: 'DEEP' })).replace('"DEEP"', deep);
      await refused(() => typed('POST', VERSIONS, body), 400, 'invalid-request');
    });

    it.each(['with', 'without'])('over its limit, %s Content-Length', async (how) => {
      const text = `{"notes":"${'x'.repeat(2_000_000)}"}`;
      const body = how === 'with' ? text : new Blob([text]).stream();
      await refused(() => typed('PATCH', `${VERSIONS}/1.0.0/notes`, body), 413, 'too-large');
    });

    it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', ''])(
      'sent as %j',
      async (type) => {
        await refused(
          () => typed('PATCH', `${VERSIONS}/1.0.0/notes`, '{"notes":"a"}', type),
          415,
          'unsupported-media-type',
        );
        await refused(() => typed('POST', VERSIONS, '{}', type), 415, 'unsupported-media-type');
      },
    );
  });

  it('with an invalid token', async () => {
    const headers = { Authorization: 'Bearer x.y.z' };
    await refused(
      () => fetch(`${program().url}${VERSIONS}`, { method: 'POST', headers, body: 'x' }),
      401,
      'unauthenticated',
    );
    const path = `${program().url}/api/blobs/${sha256('x')}`;
    await refused(() => fetch(path, { method: 'PUT', headers, body: 'x' }), 401, 'unauthenticated');
    const asUser = { Authorization: `Bearer ${await program().token('user')}` };
    await refused(() => fetch(path, { method: 'PUT', headers: asUser, body: 'x' }), 403, 'forbidden');
  });

  it('still accepts valid versions with long and non-ASCII names', async () => {
    const files = { [`modèle/${'long/'.repeat(60)}é 模型.bin`]: 'x', "it's quoted": 'y' };
    const { manifest } = await publish(program(), '2.0.0', files);
    expect(manifest.artifacts.map(({ path }: { path: string }) => path).sort()).toEqual(Object.keys(files).sort());
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`${i}.txt`, 'same']));
    await publish(program(), '2.1.0', many);
    const mark = Buffer.from('\ufeff{"notes":"marked"}');
    expect((await typed('PATCH', `${VERSIONS}/2.1.0/notes`, mark)).status).toBe(200);
  });
});

describe('without NATS', () => {
  it('refuses commands, answers reads marked stale, and recovers', async () => {
    const nats = await startNats(process.env.NATS_SERVER_BIN!);
    const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' });
    await publish(program, '1.0.0');
    const key = { 'Idempotency-Key': 'k' };
    const activate = () => program.ask('POST', `${VERSIONS}/1.0.0/activate`, {}, key);
    expect((await activate()).status).toBe(200);
    const before = await stored(program);

    await nats.kill();
    await until(async () => (await fetch(`${program.url}/readyz?for=writes`)).status === 503);
    const readyz = await fetch(`${program.url}/readyz`);
    expect(readyz.status).toBe(200);
    expect(await readyz.json()).toMatchObject({ ready: true, writes: false, log: 'cut-off' });
    const refused = await program.ask('PATCH', `${VERSIONS}/1.0.0/notes`, { notes: 'n' });
    expect(refused.headers.get('retry-after')).toBe('1');
    await problemOf(refused, 503, 'log-unavailable');
    const form = versionForm({ version: '2.0.0' }, { 'a.txt': 'a' });
    await problemOf(await send(program, 'POST', VERSIONS, form), 503, 'log-unavailable');
    await problemOf(await activate(), 503, 'log-unavailable');
    const reads = [
      VERSIONS,
      `${VERSIONS}/active`,
      `${VERSIONS}/1.0.0/files/a.txt`,
      '/api/models',
      '/api/history',
      '/healthz',
    ];
    for (const path of [...reads, '/api/models/default/history', `${VERSIONS}?at=1`]) {
      const response = await program.ask('GET', path);
      expect([response.status, response.headers.get('registry-stale')], path).toEqual([200, 'true']);
      await response.text();
    }
    const { revision, files } = await stored(program);
    expect({ revision, files }).toEqual({ revision: before.revision, files: before.files });

    await nats.start();
    await until(async () => (await fetch(`${program.url}/readyz?for=writes`)).status === 200);
    const answer = await program.ask('GET', VERSIONS);
    expect(answer.headers.get('registry-stale')).toBe(null);
    await ok(program, 'PATCH', `${VERSIONS}/1.0.0/notes`, { notes: 'n' });
    expect((await activate()).status).toBe(200);
    expect((await wholeHistory(program)).map(({ type }) => type)).toEqual([
      'version.published',
      'version.activated',
      'notes.changed',
    ]);
  });
});

describe('a foreign message on the subject of a model', () => {
  it('freezes that model and no other, also after a restart', async () => {
    const nats = await startNats(process.env.NATS_SERVER_BIN!);
    const volume = await volumeFolder();
    const env = { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' };
    let program = await startProgram(volume, env);
    await publish(program, '1.0.0');
    await publish(program, '1.1.0');
    await ok(program, 'POST', `${VERSIONS}/1.0.0/activate`);
    await publish(program, '1.0.0', { 'a.txt': 'other' }, 'other');
    const log = await connected(nats);
    await log.js.publish(subjectOf('default'), 'hello');
    await frozen(5);

    await program.stop();
    program = await startProgram(volume, env);
    await frozen(6);

    async function frozen(revision: number) {
      const health = async () => (await program.ask('GET', '/readyz')).json();
      await until(async () => ((await health()) as { frozen: unknown[] }).frozen.length > 0);
      expect(await health()).toMatchObject({
        ready: true,
        frozen: [{ model: 'default', revision: 5, reason: expect.any(String) }],
      });
      const before = await visible(volume);
      for (const [method, path, body] of [
        ['POST', `${VERSIONS}/1.1.0/activate`, {}],
        ['POST', '/api/models/default/rollback', { reason: 'r' }],
        ['PATCH', `${VERSIONS}/1.0.0/notes`, { notes: 'n' }],
        ['POST', VERSIONS, { version: '2.0.0', artifacts: artifactsOf({ 'a.txt': '1.0.0' }) }],
      ] as const) {
        const problem = await problemOf(await program.ask(method, path, body), 409, 'log-corrupt');
        expect(problem).toMatchObject({ model: 'default', revision: 5 });
      }
      expect(await visible(volume)).toEqual(before);
      for (const path of [`${VERSIONS}/active`, `${VERSIONS}/1.0.0`, VERSIONS, '/api/models/default/history']) {
        const response = await program.ask('GET', path);
        expect([response.status, response.headers.get('registry-stale')], path).toEqual([200, 'true']);
      }
      const other = await program.ask('GET', '/api/models/other/versions/1.0.0');
      expect([other.status, other.headers.get('registry-stale')]).toEqual([200, null]);
      await ok(program, 'PATCH', '/api/models/other/versions/1.0.0/notes', { notes: `at ${revision}` });
    }
  });
});

describe('a metadata.json that cannot be shown', () => {
  const program = shared((ends) => emptyProgram(ends));

  it.each([
    ['is not JSON', '1.0.0', 'not json'],
    ['is over 1 MiB', '1.1.0', `"${'x'.repeat(1_200_000)}"`],
    ['is nested 200,000 levels deep', '1.2.0', '['.repeat(200_000) + ']'.repeat(200_000)],
  ])('leaves out the metadata of the latest version: one that %s', async (_, version, text) => {
    // A publish with `requires` does not read the file.
    const form = versionForm({ version, requires: {} }, { 'metadata.json': text });
    expect((await send(program(), 'POST', VERSIONS, form)).status).toBe(201);
    expect(await ok(program(), 'GET', '/models/latest')).toEqual({ version, metadata: null });
  });
});

describe('a disk that is nearly full', () => {
  // Runs in its own mount namespace, so that the small disk disappears with the process. `-r` makes the user root inside.
  it.runIf(process.platform === 'linux')(
    'takes no upload into its reserve, and goes on with everything else',
    async () => {
      const volume = await volumeFolder();
      const mount = 'mount -t tmpfs -o size=300m none "$0" && exec "$@"';
      const through = ['unshare', process.getuid?.() === 0 ? '-m' : '-rm', 'sh', '-c', mount, volume];
      const env = { REGISTRY_JWT_SECRET: 'x'.repeat(32), REGISTRY_DISCOVERY: 'off' };
      const inside = await startProgram(volume, env, onTestFinished, through);
      const program = { ...inside, volume: `/proc/${inside.process.pid}/root${volume}` };
      await publish(program, '1.0.0', { 'fits.bin': randomBytes(10_000_000) });
      const before = await stored(program);
      const large = randomBytes(40_000_000);
      const form = versionForm({ version: '2.0.0' }, { 'fits.txt': 'fits', 'large.bin': large });
      const problem = await problemOf(await send(program, 'POST', VERSIONS, form), 507, 'volume-full');
      expect(problem).toMatchObject({ path: 'large.bin' });
      await problemOf(await send(program, 'PUT', `/api/blobs/${sha256(large)}`, large), 507, 'volume-full');
      const blobs = [...before.blobs, sha256('fits').replace(':', '/')].sort();
      expect(await stored(program)).toEqual({ ...before, blobs });
      await ok(program, 'POST', `${VERSIONS}/1.0.0/activate`);
      await publish(program, '1.1.0');
    },
  );

  it('refuses an upload that does not fit above the reserve, and stores nothing of it', async () => {
    const volume = await temporaryFolder();
    const { bavail, bsize } = await statfs(volume);
    const bytes = Buffer.from('bytes');
    const digest = sha256(bytes) as Digest;
    async function* body() {
      yield bytes;
    }
    const full = await openVolumeStore(volume, bavail * bsize * 2);
    await expect(full.put(digest, body(), bytes.length)).rejects.toMatchObject({ code: 'volume-full', status: 507 });
    await expect(full.put(digest, body())).rejects.toMatchObject({ code: 'volume-full' });
    expect(await visible(join(volume, 'blobs'))).toEqual(['sha256/']);
    const roomy = await openVolumeStore(volume, 0);
    expect(await roomy.put(digest, body(), bytes.length)).toMatchObject({ size: bytes.length });
  });

  it('refuses an upload that reaches the reserve while it is received', async () => {
    const volume = await temporaryFolder();
    const { bavail, bsize } = await statfs(volume);
    // Only the beginning fits: 16 MiB above the reserve.
    const store = await openVolumeStore(volume, bavail * bsize - 16 * 1024 * 1024);
    const chunk = Buffer.alloc(1024 * 1024, 1);
    async function* endless() {
      for (;;) {
        yield chunk;
        await sleep(0);
      }
    }
    await expect(store.put(sha256('x') as Digest, endless())).rejects.toMatchObject({ code: 'volume-full' });
    expect(await visible(join(volume, 'blobs'))).toEqual(['sha256/']);
  });

  it('deletes unfinished files of an earlier process', async () => {
    const volume = await temporaryFolder();
    await openVolumeStore(volume);
    await writeFile(join(volume, 'blobs/upload-1'), 'half', { mode: 0o444 });
    await openVolumeStore(volume);
    expect(await visible(join(volume, 'blobs'))).toEqual(['sha256/']);
  });
});
