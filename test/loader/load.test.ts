import { readFile } from 'node:fs/promises';
import { describe, expect, it, test } from 'vitest';
import { canonicalManifest, digestOf, Manifest } from '../../src/domain/manifest.ts';
import { openCache } from '../../src/loader/cache.ts';
import type { Fetcher } from '../../src/loader/fetch.ts';
import { createLoad, type LoadOptions, type Phase } from '../../src/loader/load.ts';
import { artifactsOf, type Files, until } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { silent, type TestModel } from './support.ts';

const never = () => new Promise<never>(() => {});

/** An unpublished version, and a fetcher that returns its bytes. */
function versionOf(files: Files, more: object = {}) {
  const text = canonicalManifest(Manifest.parse({ artifacts: artifactsOf(files), ...more }));
  const target = { version: '1.0.0', manifest_digest: digestOf(text), revision: 1 };
  const fetched: string[] = [];
  const fetcher: Fetcher = {
    manifest: async () => text,
    async *bytes(_version, { path }) {
      fetched.push(path);
      yield Buffer.from(files[path]!);
    },
  };
  return { target, fetcher, fetched };
}

/** A load with a new cache, and the calls that its service got. */
async function loaderOf(fetcher: Fetcher, service: Partial<Omit<LoadOptions<TestModel>, 'log'>> = {}) {
  const phases: Phase[] = [];
  const models: TestModel[] = [];
  const cache = await openCache({
    folder: await temporaryFolder(),
    model: 'fraud',
    environment: 'production',
    limit: 1e9,
  });
  const load = createLoad<TestModel>({
    model: 'fraud',
    cache,
    fetcher,
    facts: async () => ({ node: '24.0.0', npm: {} }),
    timeoutMs: 60_000,
    log: silent,
    async hydrate(_version, files) {
      models.push({ text: await readFile(files.path('model.txt'), 'utf8'), disposed: false });
      return models.at(-1)!;
    },
    dispose(model) {
      expect(model.disposed).toBe(false);
      model.disposed = true;
    },
    ...service,
  });
  const entered = (phase: Phase) => void phases.push(phase);
  return { load, phases, models, entered };
}

const alive = () => new AbortController().signal;

describe('a load', () => {
  it('fetches, hydrates and warms up, and reports each phase', async () => {
    const golden = JSON.stringify({ requests: [{ input: '!', output: 'one!' }] });
    const { target, fetcher, fetched } = versionOf({ 'model.txt': 'one', 'golden.json': golden, 'deep/er/a.txt': 'a' });
    const seen: unknown[] = [];
    const { load, phases, entered } = await loaderOf(fetcher, {
      async hydrate(version, files) {
        seen.push([version.model, version.version, version.manifest_digest, version.manifest.artifacts.length]);
        seen.push(await readFile(files.path('deep/er/a.txt'), 'utf8'));
        for (const outside of ['../x', '/etc/passwd', 'a/../../x', '']) {
          expect(() => files.path(outside)).toThrow(TypeError);
        }
        return { text: await readFile(files.path('model.txt'), 'utf8'), disposed: false };
      },
      predict: (model, input) => model.text + input,
    });
    const loaded = await load(target, alive(), entered);
    expect(loaded.leased.loaded).toMatchObject({ version: '1.0.0', model: { text: 'one', disposed: false } });
    expect([loaded.load_ms, loaded.warm_up_ms].every(Number.isInteger)).toBe(true);
    expect(seen).toEqual([['fraud', '1.0.0', target.manifest_digest, 3], 'a']);
    expect(phases).toEqual(['fetching', 'loading', 'warming-up']);
    await load(target, alive(), entered);
    expect(fetched.toSorted()).toEqual(['deep/er/a.txt', 'golden.json', 'model.txt']);
  });

  test.each<[string, Partial<Fetcher>, string, string | RegExp]>([
    ['altered', { bytes: () => chunks('two') }, 'digest-mismatch', /^model\.txt: The bytes are sha256:/],
    [
      'longer',
      { bytes: () => chunks('one', '!') },
      'digest-mismatch',
      /^model\.txt: .* 3 bytes, but more than 3 arrived/,
    ],
    ['shorter', { bytes: () => chunks('on') }, 'digest-mismatch', /^model\.txt: .* 3 bytes, but 2 arrived/],
    ['empty', { bytes: () => chunks() }, 'digest-mismatch', /^model\.txt: .* but 0 arrived/],
    ['not available', { bytes: () => failing() }, 'fetch-failed', /no route/],
  ])('refuses an artifact that is %s, before hydrate', async (_, bad, code, message) => {
    const { target, fetcher } = versionOf({ 'model.txt': 'one' });
    const { load, models, phases, entered } = await loaderOf({ ...fetcher, ...bad });
    const refused = { code, message: expect.stringMatching(message) };
    await expect(load(target, alive(), entered)).rejects.toMatchObject(refused);
    expect([models, phases]).toEqual([[], ['fetching']]);
  });

  test.each<[string, (text: string) => string, string | RegExp]>([
    ['altered', (text) => text.replace('custom', 'onnxx'), 'the manifest is sha256:'],
    ['cut', (text) => text.slice(0, -1), 'the manifest is sha256:'],
    ['rubbish', () => '<html>', 'the manifest is sha256:'],
  ])('refuses a manifest that is %s', async (_, alter, message) => {
    const { target, fetcher } = versionOf({ 'model.txt': 'one' });
    const text = await fetcher.manifest('1.0.0', alive());
    const { load, entered } = await loaderOf({ ...fetcher, manifest: async () => alter(text) });
    const refused = { code: 'digest-mismatch', message: expect.stringMatching(message) };
    await expect(load(target, alive(), entered)).rejects.toMatchObject(refused);
  });

  it('refuses an invalid manifest, even with the right digest', async () => {
    const { fetcher } = versionOf({ 'model.txt': 'one' });
    const text = '{"artifacts":[{"path":"../../escape","digest":"sha256:0","size":1}]}';
    const { load, entered } = await loaderOf({ ...fetcher, manifest: async () => text });
    const target = { version: '1.0.0', manifest_digest: digestOf(text), revision: 1 };
    await expect(load(target, alive(), entered)).rejects.toMatchObject({ code: 'digest-mismatch' });
  });

  it('accepts a manifest with unknown fields', async () => {
    const files = { 'model.txt': 'one' };
    const text = `{"artifacts":${JSON.stringify(artifactsOf(files))},"unknown":1}`;
    const { fetcher } = versionOf(files);
    const { load, entered } = await loaderOf({ ...fetcher, manifest: async () => text });
    const target = { version: '1.0.0', manifest_digest: digestOf(text), revision: 1 };
    expect((await load(target, alive(), entered)).leased.loaded.model.text).toBe('one');
  });

  it('refuses a version that this process cannot run, before it hydrates', async () => {
    const { target, fetcher } = versionOf({ 'model.txt': 'one' }, { requires: { npm: { sharp: '^0.33' } } });
    const { load, models, entered } = await loaderOf(fetcher);
    const refused = { code: 'runtime-mismatch', message: 'npm:sharp wanted, not installed' };
    await expect(load(target, alive(), entered)).rejects.toMatchObject(refused);
    expect(models).toEqual([]);
  });

  it('ends all downloads when one file has the wrong bytes', async () => {
    const { target, fetcher } = versionOf({ 'model.txt': 'one', 'vocabulary.txt': 'words' });
    const begun = Promise.withResolvers<void>();
    let ended = false;
    const { load, entered } = await loaderOf({
      ...fetcher,
      async *bytes(_version, { path }, signal) {
        if (path === 'model.txt') {
          await begun.promise;
          yield Buffer.from('bad');
          return;
        }
        begun.resolve();
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))).finally(() => {
          ended = true;
        });
      },
    });
    await expect(load(target, alive(), entered)).rejects.toMatchObject({ code: 'digest-mismatch' });
    expect(ended).toBe(true);
  });
});

describe('hydrating', () => {
  it('that throws fails the load with the reason', async () => {
    const { target, fetcher } = versionOf({ 'model.txt': 'one' });
    const failing = () => {
      throw new RangeError('no memory');
    };
    for (const hydrate of [failing, async () => failing()]) {
      const { load, entered } = await loaderOf(fetcher, { hydrate });
      const refused = { code: 'hydrate-failed', message: 'RangeError: no memory' };
      await expect(load(target, alive(), entered)).rejects.toMatchObject(refused);
    }
  });

  it('that hangs is given up, and a late model is disposed of', async () => {
    const { target, fetcher } = versionOf({ 'model.txt': 'one' });
    const late = Promise.withResolvers<TestModel>();
    let limit: AbortSignal | null = null;
    const { load, entered } = await loaderOf(fetcher, {
      timeoutMs: 20,
      hydrate: (_version, _files, signal) => {
        limit = signal;
        return late.promise;
      },
    });
    const refused = { code: 'load-timeout', message: 'not ready after 0.02 s' };
    await expect(load(target, alive(), entered)).rejects.toMatchObject(refused);
    expect(limit!.aborted).toBe(true);
    const model = { text: 'late', disposed: false };
    late.resolve(model);
    await until(() => model.disposed);
  });

  it('that is overtaken is aborted, and a late model is disposed of', async () => {
    const { target, fetcher } = versionOf({ 'model.txt': 'one' });
    const stop = new AbortController();
    const late = Promise.withResolvers<TestModel>();
    const { load, entered } = await loaderOf(fetcher, {
      hydrate(_version, _files, signal) {
        signal.addEventListener('abort', () => late.resolve(model));
        stop.abort(new Error('overtaken'));
        return late.promise;
      },
    });
    const model = { text: 'late', disposed: false };
    await expect(load(target, stop.signal, entered)).rejects.toThrow('overtaken');
    await until(() => model.disposed);
  });

  it('does not start if the load was overtaken before', async () => {
    const { target, fetcher } = versionOf({ 'model.txt': 'one' });
    const stop = new AbortController();
    let begun = false;
    const { load, entered } = await loaderOf(fetcher, {
      async facts() {
        stop.abort(new Error('overtaken'));
        return {};
      },
      hydrate() {
        begun = true;
        return never();
      },
    });
    await expect(load(target, stop.signal, entered)).rejects.toThrow('overtaken');
    expect(begun).toBe(false);
  });
});

describe('warming up', () => {
  const golden = (...inputs: string[]) =>
    versionOf({
      'model.txt': 'one',
      'golden.json': JSON.stringify({ requests: inputs.map((input) => ({ input, output: `one${input}` })) }),
    });

  it('passes the version, whose derived values are disposed of with it', async () => {
    const { target, fetcher } = golden('!', '?');
    const disposed: string[] = [];
    const { load, entered } = await loaderOf(fetcher, {
      async predict(model, input, { derived }) {
        const suffix = await derived('suffix', () => `${model.text}'s`, { dispose: (value) => disposed.push(value) });
        return `${model.text}${suffix === "one's" ? input : 'wrong'}`;
      },
    });
    const { leased } = await load(target, alive(), entered);
    expect(disposed).toEqual([]);
    await leased.retire();
    expect(disposed).toEqual(["one's"]);
  });

  it('refuses and disposes of a model with another answer', async () => {
    const { target, fetcher } = golden('!', '?');
    const { load, models, phases, entered } = await loaderOf(fetcher, {
      predict: (model, input) => `${model.text}${input}`.replace('?', '!'),
    });
    const refused = { code: 'golden-mismatch', message: 'golden request 1: output is "one!", not "one?"' };
    await expect(load(target, alive(), entered)).rejects.toMatchObject(refused);
    expect(phases).toEqual(['fetching', 'loading', 'warming-up']);
    await until(() => models[0]!.disposed);
  });

  it('reports the wrong answer even if the model cannot be disposed of', async () => {
    const { target, fetcher } = golden('!');
    const { load, entered } = await loaderOf(fetcher, {
      predict: () => 'other',
      dispose() {
        throw new Error('double free');
      },
    });
    await expect(load(target, alive(), entered)).rejects.toMatchObject({ code: 'golden-mismatch' });
  });

  it('that hangs is given up, and the model is disposed of after its answer', async () => {
    const { target, fetcher } = golden('!', '?');
    const answer = Promise.withResolvers<string>();
    const inputs: unknown[] = [];
    const { load, models, entered } = await loaderOf(fetcher, {
      timeoutMs: 100,
      predict(_model, input) {
        inputs.push(input);
        return answer.promise;
      },
    });
    await expect(load(target, alive(), entered)).rejects.toMatchObject({ code: 'load-timeout' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(models[0]!.disposed).toBe(false);
    answer.resolve('one!');
    await until(() => models[0]!.disposed);
    expect(inputs).toEqual(['!']);
  });

  it('that is overtaken sends no further request', async () => {
    const { target, fetcher } = golden('!', '?');
    const stop = new AbortController();
    const inputs: unknown[] = [];
    const { load, models, entered } = await loaderOf(fetcher, {
      async predict(model, input) {
        expect(model.disposed).toBe(false);
        inputs.push(input);
        stop.abort(new Error('overtaken'));
        return `one${input}`;
      },
    });
    await expect(load(target, stop.signal, entered)).rejects.toThrow('overtaken');
    await until(() => models[0]!.disposed);
    expect(inputs).toEqual(['!']);
  });

  it('is skipped without predict and without golden requests', async () => {
    const without = versionOf({ 'model.txt': 'one' });
    const { load } = await loaderOf(without.fetcher, { predict: never });
    expect((await load(without.target, alive(), () => {})).leased.loaded.model.text).toBe('one');
    const { target, fetcher } = versionOf({ 'model.txt': 'one', 'golden.json': 'rubbish' });
    const mute = await loaderOf(fetcher);
    expect((await mute.load(target, alive(), () => {})).leased.loaded.model.text).toBe('one');
  });
});

async function* chunks(...texts: string[]) {
  for (const text of texts) yield Buffer.from(text);
}

// biome-ignore lint/correctness/useYield: it fails before the first byte
async function* failing(): AsyncGenerator<Uint8Array> {
  throw new Error('no route');
}
