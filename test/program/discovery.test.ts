import { appendFile, link, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Program, startProgram } from '../support/program.ts';
import { copySample, emptyProgram, ok, publish, sha256, shared, until, visible, volumeFolder } from './support.ts';

/** A folder with these files, copied to its place file by file. */
async function folder(path: string, files: Record<string, string>): Promise<string> {
  await mkdir(path, { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
  return path;
}

const MODEL = { 'metadata.json': '{"sklearn_version":"1.5.1"}', 'model.joblib': 'bytes' };

const fileNames = (prefix: string) => Object.keys(MODEL).map((name) => prefix + name);

async function problems(program: Program): Promise<string[]> {
  const response = await program.ask('GET', '/readyz');
  const { discovery, volume } = (await response.json()) as { discovery: string[]; volume: string[] };
  return [...discovery, ...volume];
}

/** Waits for a problem with these words; paths are reported relative to the volume. */
const reported = (program: Program, ...words: string[]) => {
  const parts = words.map((word) => word.replace(`${program.volume}/`, ''));
  return until(async () => (await problems(program)).some((problem) => parts.every((word) => problem.includes(word))));
};

const published = async (program: Program, model: string, version: string) =>
  (await program.ask('GET', `/api/models/${model}/versions/${version}`)).status === 200;

describe('while it runs', () => {
  const program = shared(async (ends) => startProgram(await volumeFolder(ends), {}, ends));
  const versions = (model: string) => join(program().volume, 'models', model, 'versions');

  it.concurrent('adopts a folder that appears, as the default model’s version', async () => {
    await copySample('1.1.0', join(program().volume, 'versions/1.1.0'));
    await until(() => published(program(), 'default', '1.1.0'));
    const { events } = await ok(program(), 'GET', '/api/models/default/history');
    expect(events).toMatchObject([{ type: 'version.published', actor: 'volume', data: { version: '1.1.0' } }]);
  });

  it.concurrent('adopts a folder of another model, with the requirements from its metadata', async () => {
    const path = join(versions('adopted'), '0.1.0');
    await folder(path, { ...MODEL, '.hidden': 'x' });
    await folder(join(path, '__pycache__'), { 'x.pyc': 'x' });
    await folder(join(path, 'sub/deep'), { 'weights.bin': 'w' });
    await until(() => published(program(), 'adopted', '0.1.0'));
    const { manifest } = await ok(program(), 'GET', '/api/models/adopted/versions/0.1.0');
    expect(manifest).toMatchObject({ flavor: 'sklearn', requires: { packages: { 'scikit-learn': '~=1.5.0' } } });
    expect(manifest.artifacts.map(({ path }: { path: string }) => path)).toEqual([
      'metadata.json',
      'model.joblib',
      'sub/deep/weights.bin',
    ]);
  });

  it.concurrent('leaves a folder that is still being written, and adopts it when it is complete', async () => {
    const path = await folder(join(versions('growing'), '1.0.0'), MODEL);
    let content = MODEL['model.joblib'];
    for (let i = 0; i < 24; i++) {
      await appendFile(join(path, 'model.joblib'), `more ${i}`);
      content += `more ${i}`;
      await sleep(300);
    }
    await until(() => published(program(), 'growing', '1.0.0'));
    const { manifest } = await ok(program(), 'GET', '/api/models/growing/versions/1.0.0');
    expect(manifest.artifacts[1]).toEqual({
      path: 'model.joblib',
      digest: sha256(content),
      size: Buffer.byteLength(content),
    });
  });

  it.concurrent('adopts a folder that was renamed into place', async () => {
    const aside = await folder(join(program().volume, 'models/moved/.incoming'), MODEL);
    await mkdir(versions('moved'), { recursive: true });
    await rename(aside, join(versions('moved'), '1.0.0'));
    await until(() => published(program(), 'moved', '1.0.0'));
  });

  it.concurrent('reports a folder without metadata, and adopts it when metadata is added', async () => {
    const path = await folder(join(versions('bare'), '1.0.0'), { 'model.joblib': 'bytes' });
    await reported(program(), path, 'metadata.json');
    expect(await published(program(), 'bare', '1.0.0')).toBe(false);
    await folder(path, { 'training_metadata.json': '{}' });
    await until(() => published(program(), 'bare', '1.0.0'));
    expect((await problems(program())).filter((problem) => problem.includes(relative(program().volume, path)))).toEqual(
      [],
    );
  });

  it.concurrent('reports metadata that is not JSON', async () => {
    const path = await folder(join(versions('broken'), '1.0.0'), { 'metadata.json': '{', 'model.joblib': 'x' });
    await reported(program(), path, 'not JSON');
  });

  it.concurrent.each(['v1.0.0', '1.0', 'latest', '1.0.0+build', 'final model'])(
    'reports a folder named %s, and leaves it unchanged',
    async (name) => {
      const path = await folder(join(versions('names'), name), MODEL);
      await reported(program(), path, 'semantic version');
      expect(await visible(path)).toEqual(['metadata.json', 'model.joblib']);
      expect(await readFile(join(path, 'model.joblib'), 'utf8')).toBe('bytes');
    },
  );

  it.concurrent('reports a link among the files', async () => {
    const path = await folder(join(versions('linked'), '1.0.0'), MODEL);
    await symlink('/etc/hostname', join(path, 'more.bin'));
    await reported(program(), join(path, 'more.bin'), 'is a link');
    expect(await published(program(), 'linked', '1.0.0')).toBe(false);
  });

  it.concurrent('reports a link or a file in place of a version', async () => {
    const elsewhere = await folder(join(program().volume, '.elsewhere'), MODEL);
    await mkdir(versions('pointing'), { recursive: true });
    await symlink(elsewhere, join(versions('pointing'), '1.0.0'));
    await writeFile(join(versions('pointing'), '2.0.0'), 'a file');
    await reported(program(), join(versions('pointing'), '1.0.0'), 'must be a folder');
    await reported(program(), join(versions('pointing'), '2.0.0'), 'must be a folder');
    expect(await published(program(), 'pointing', '1.0.0')).toBe(false);
  });

  it.concurrent.each([
    ['secret', '.signalbox/secret'],
    ['password', '.nats/address.json'],
  ])('does not adopt a hard link to a file of the registry itself: its %s', async (name, file) => {
    const path = await folder(join(versions(name), '1.0.0'), MODEL);
    await link(join(program().volume, file), join(path, 'notes.txt'));
    await reported(program(), join(path, 'notes.txt'), 'hard link');
    expect(await published(program(), name, '1.0.0')).toBe(false);
    const secret = await readFile(join(program().volume, file));
    expect((await program().ask('HEAD', `/api/blobs/${sha256(secret)}`)).status).toBe(404);
  });

  it.concurrent('adopts hard links to other files', async () => {
    const files = await folder(join(program().volume, '.shared'), MODEL);
    const path = await folder(join(versions('shared'), '1.0.0'), {});
    for (const name of Object.keys(MODEL)) await link(join(files, name), join(path, name));
    await until(() => published(program(), 'shared', '1.0.0'));
  });

  it.concurrent('does not follow a link in place of a model, or of its versions', async () => {
    const elsewhere = join(program().volume, '.linked');
    await folder(join(elsewhere, 'versions/1.0.0'), MODEL);
    const model = join(program().volume, 'models/elsewhere');
    await mkdir(join(model, '..'), { recursive: true });
    await symlink(elsewhere, model);
    await mkdir(join(program().volume, 'models/half'), { recursive: true });
    await symlink(join(elsewhere, 'versions'), versions('half'));
    await reported(program(), model, 'must be a folder');
    await reported(program(), versions('half'), 'must be a folder');
    for (const name of ['elsewhere', 'half']) expect(await published(program(), name, '1.0.0')).toBe(false);
    // The same applies to a version that is published over HTTP.
    await publish(program(), '2.0.0', { 'a.txt': 'a' }, 'elsewhere');
    await ok(program(), 'POST', '/api/models/elsewhere/versions/2.0.0/activate');
    await reported(program(), model, 'move it away');
    expect(await visible(elsewhere)).toEqual(['versions/', 'versions/1.0.0/', ...fileNames('versions/1.0.0/')]);
    await rm(model);
    const active = join(model, 'active/production/a.txt');
    await until(async () => (await readFile(active, 'utf8').catch(() => '')) === 'a', 60_000);
  });

  it.concurrent('reports a name that is not UTF-8, and an invalid model name', async () => {
    const path = await folder(join(versions('bytes'), '1.0.0'), MODEL);
    await writeFile(Buffer.concat([Buffer.from(`${path}/mod`), Buffer.from([0xff]), Buffer.from('.bin')]), 'x');
    await mkdir(Buffer.concat([Buffer.from(join(program().volume, 'models/m')), Buffer.from([0xe9])]));
    await folder(join(program().volume, 'models/Not A Name/versions/1.0.0'), MODEL);
    await reported(program(), `${path}/mod\ufffd.bin`, 'not UTF-8');
    await reported(program(), 'models/m\ufffd', 'not UTF-8');
    await reported(program(), 'models/Not A Name', 'model');
    expect(await published(program(), 'bytes', '1.0.0')).toBe(false);
  });

  it.concurrent('reports files that differ from the published version, and leaves them unchanged', async () => {
    await publish(program(), '1.0.0', { 'model.joblib': 'published', 'notes.txt': 'n' }, 'changed');
    const path = join(versions('changed'), '1.0.0');
    await rm(join(path, 'model.joblib'));
    await writeFile(join(path, 'model.joblib'), 'something else');
    await writeFile(join(path, 'extra.bin'), 'extra');
    await reported(program(), join(path, 'model.joblib'), 'not what was published');
    await reported(program(), join(path, 'extra.bin'), 'not part of');
    expect(await readFile(join(path, 'model.joblib'), 'utf8')).toBe('something else');
    expect(await readFile(join(path, 'extra.bin'), 'utf8')).toBe('extra');
    const file = await program().ask('GET', '/api/models/changed/versions/1.0.0/files/model.joblib');
    expect(await file.text()).toBe('published');
  });

  it.concurrent('replaces a file that was removed from a version', async () => {
    await publish(program(), '1.0.0', { 'model.joblib': 'published' }, 'taken');
    const path = join(versions('taken'), '1.0.0/model.joblib');
    await rm(path);
    await until(async () => (await readFile(path, 'utf8').catch(() => '')) === 'published');
  });
});

it('reports at the start what differs from a published version, and does not write through links', async () => {
  const volume = await volumeFolder();
  const program = await startProgram(volume);
  await publish(program, '1.0.0', { 'a/model.joblib': 'published' });
  await publish(program, '2.0.0', { 'a/model.joblib': 'published' });
  // A third one is `latest`: of the others, only what changed while the registry was stopped is checked.
  await publish(program, '3.0.0', { 'a/model.joblib': 'published' });
  await program.stop();
  const elsewhere = await folder(join(volume, '.elsewhere'), {});
  await rm(join(volume, 'versions/1.0.0/a'), { recursive: true });
  await symlink(elsewhere, join(volume, 'versions/1.0.0/a'));
  await rm(join(volume, 'versions/2.0.0'), { recursive: true });
  await symlink(elsewhere, join(volume, 'versions/2.0.0'));

  const again = await startProgram(volume);
  await reported(again, 'versions/1.0.0');
  await reported(again, 'versions/2.0.0');
  expect(await visible(elsewhere)).toEqual([]);
});

it('adopts nothing with REGISTRY_DISCOVERY=off', async () => {
  const on = await startProgram(await volumeFolder());
  const off = await emptyProgram(onTestFinished);
  for (const { volume } of [off, on]) await copySample('1.0.0', join(volume, 'versions/1.0.0'));
  await until(() => published(on, 'default', '1.0.0')); // by then, the other one would have adopted it, too
  expect(await published(off, 'default', '1.0.0')).toBe(false);
  await publish(off, '1.0.0', { 'a.txt': 'a' }, 'other'); // publishing still works
});
