import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { envText, loadEnvFile, readEnvFile } from '../../src/setup/env-file.ts';
import { temporaryFolder } from '../support/folder.ts';

async function written(text: string): Promise<string> {
  const path = join(await temporaryFolder(), '.env');
  await writeFile(path, text);
  return path;
}

const read = async (text: string) => readEnvFile(await written(text));

async function loaded(text: string, env: NodeJS.ProcessEnv = {}) {
  const warnings: string[] = [];
  loadEnvFile(await written(text), env, (line) => warnings.push(line));
  return { env, warnings };
}

describe('a .env', () => {
  test('sets only variables that are not set, even to an empty value', async () => {
    const text = 'REGISTRY_DSN=file\nREGISTRY_MODEL=file\nPORT=1\n';
    expect(await loaded(text, { REGISTRY_DSN: 'set', REGISTRY_MODEL: '' })).toEqual({
      env: { REGISTRY_DSN: 'set', REGISTRY_MODEL: '', PORT: '1' },
      warnings: [],
    });
  });

  test('sets the documented variables, and ignores all others', async () => {
    const documents = ['configuration.md', 'loaders.md'].map((name) => join(import.meta.dirname, '../../docs', name));
    const tables = (await Promise.all(documents.map((path) => readFile(path, 'utf8')))).join('\n');
    const rows = [...tables.matchAll(/^\| ((?:`[A-Z_]+`(?:, )?)+) \|/gm)].map(([, names]) => names!);
    const documented = rows.flatMap((names) => names.match(/[A-Z_]+/g)!);
    expect(documented.length).toBeGreaterThan(25);
    const others = ['NATS_PASSWORD', 'REGISTRY_USER', 'NODE_OPTIONS', 'PATH', 'LD_PRELOAD', 'HTTPS_PROXY', '__proto__'];
    const { env, warnings } = await loaded([...documented, ...others].map((name) => `${name}=x`).join('\n'));
    expect(Object.keys(env).sort()).toEqual([...new Set(documented)].sort());
    expect(warnings).toEqual([]);
  });

  test('cannot choose the nats-server to run, and the warning names the line', async () => {
    const text = '# a\nPORT=1\nNATS_SERVER_BIN=/tmp/evil\n';
    const { env, warnings } = await loaded(text);
    expect(env).toEqual({ PORT: '1' });
    expect(warnings).toEqual([
      expect.stringMatching(/^Line 3 of \/.*\.env sets NATS_SERVER_BIN, which is ignored there/),
    ]);
    expect((await loaded(text, { NATS_SERVER_BIN: '/usr/bin/nats-server' })).warnings).toEqual([]);
  });

  test('may be missing', () => {
    const env = {};
    loadEnvFile('/nowhere/.env', env, expect.unreachable);
    expect(env).toEqual({});
  });

  test('may have comments, blanks, exports, quotes and values of several lines', async () => {
    const text = '# a\n\n  export A=1 # one\nB="x\ny"\r\nC=\'a=b\'\n D = \n#E=5\nF=`it\'s "so"`\nG=ab"c\n';
    expect(await read(text)).toEqual({ A: '1', B: 'x\ny', C: 'a=b', D: '', F: 'it\'s "so"', G: 'ab"c' });
  });

  test.each([
    ['A=1\nB 2\n', 2],
    ['REGISTRY_JWT_SECRET: hunter2', 1],
    ['A="x\ny"\n\n=3', 4],
    ['A=1\n-----BEGIN KEY-----\n', 2],
  ])('with an invalid line is refused with its number, without its text: %j', async (text, line) => {
    const error = await loaded(text).catch((error: Error) => error);
    expect(error).toMatchObject({
      message: expect.stringMatching(new RegExp(`^Line ${line} of /.*/\\.env does not have`)),
    });
    expect(String(error)).not.toContain('hunter2');
  });

  test('that cannot be read is refused', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, '.env'));
    expect(() => loadEnvFile(join(folder, '.env'), {}, expect.unreachable)).toThrow(/\.env cannot be read: EISDIR/);
  });

  test('is read back as it was written', async () => {
    const value = fc.string({ minLength: 1, unit: fc.constantFrom(...'aZ9 #$\'"`=\\%äé🚂\n\t') });
    await fc.assert(
      fc.asyncProperty(value, async (value) => {
        let text: string;
        try {
          text = envText('h', [
            { name: 'A', value, comment: 'a' },
            { name: 'B', value: undefined, comment: 'b' },
            { name: 'C', value: 'c', comment: 'c' },
          ]);
        } catch (error) {
          expect(error).toMatchObject({ message: 'A contains characters that cannot be written to a .env.' });
          return;
        }
        expect(await read(text)).toEqual({ A: value, C: 'c' });
      }),
    );
  });
});
