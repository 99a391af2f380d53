import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { envText, loadEnvFile } from '../../src/setup/env-file.ts';
import { temporaryFolder } from '../support/folder.ts';

async function loaded(text: string, env: NodeJS.ProcessEnv = {}): Promise<NodeJS.ProcessEnv> {
  const path = join(await temporaryFolder(), '.env');
  await writeFile(path, text);
  loadEnvFile(path, env);
  return env;
}

describe('a .env', () => {
  test('fills in what is not set; what is set, even to nothing, stays', async () => {
    expect(await loaded('A=file\nB=file\nC=file\n', { A: 'set', B: '' })).toEqual({ A: 'set', B: '', C: 'file' });
  });

  test('may be missing', () => {
    const env = {};
    loadEnvFile('/nowhere/.env', env);
    expect(env).toEqual({});
  });

  test('may have comments, blanks, exports, quotes and values of several lines', async () => {
    const text = '# a\n\n  export A=1 # one\nB="x\ny"\r\nC=\'a=b\'\n D = \n#E=5\nF=`it\'s "so"`\nG=ab"c\n';
    expect(await loaded(text)).toEqual({ A: '1', B: 'x\ny', C: 'a=b', D: '', F: 'it\'s "so"', G: 'ab"c' });
  });

  test.each([
    ['A=1\nB 2\n', 2],
    ['REGISTRY_JWT_SECRET: hunter2', 1],
    ['A="x\ny"\n\n=3', 4],
    ['A=1\n-----BEGIN KEY-----\n', 2],
  ])('with a line that is no variable is told by its number, without the line: %j', async (text, line) => {
    const error = await loaded(text).catch((error: Error) => error);
    expect(error).toMatchObject({ message: expect.stringMatching(new RegExp(`^Line ${line} of /.*/\\.env is not`)) });
    expect(String(error)).not.toContain('hunter2');
  });

  test('that cannot be read is told', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, '.env'));
    expect(() => loadEnvFile(join(folder, '.env'), {})).toThrow(/\.env cannot be read: EISDIR/);
  });

  test('that is written says what it was given', async () => {
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
          expect(error).toMatchObject({ message: 'A has characters that a .env cannot hold.' });
          return;
        }
        expect(await loaded(text)).toEqual({ A: value, C: 'c' });
      }),
    );
  });
});
