import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, test } from 'vitest';
import type { Requires, Runtime } from '../../src/domain/requires.ts';
import { pythonRuntime } from '../../src/loader/python-runtime.ts';
import { checkRequires, nodeRuntime } from '../../src/loader/runtime.ts';
import { temporaryFolder } from '../support/folder.ts';

function refusal(requires: Requires, runtime: Runtime): string | null {
  try {
    checkRequires(requires, runtime);
    return null;
  } catch (error) {
    expect(error).toMatchObject({ code: 'runtime-mismatch' });
    return (error as Error).message;
  }
}

const service: Runtime = { node: '24.1.0', npm: { 'onnxruntime-node': '1.20.1' } };
const python: Runtime = { python: '3.11.7', packages: { 'scikit-learn': '1.4.2' } };

describe('what a version requires', () => {
  test.each<[string, Requires, Runtime]>([
    ['nothing', {}, service],
    ['nothing of a process that states nothing', { python: '~=3.9.0', npm: { a: '1' } }, {}],
    ['the training pipeline’s Python', { python: '~=3.9.0', packages: { 'scikit-learn': '~=1.5.1' } }, service],
    ['a Node and a package that are there', { node: '>=22', npm: { 'onnxruntime-node': '^1.19' } }, service],
    ['Node of a Python service', { node: '>=99', npm: { a: '1' } }, python],
    [
      'Python and a package under another spelling',
      { python: '>=3.11', packages: { Scikit_Learn: '~=1.4.0' } },
      python,
    ],
  ])('holds: %s', (_, requires, runtime) => {
    expect(refusal(requires, runtime)).toBeNull();
  });

  test.each<[string, Requires, Runtime, string]>([
    ['an older Node', { node: '<20' }, service, 'node <20 wanted, 24.1.0 found'],
    [
      'a package of another version',
      { npm: { 'onnxruntime-node': '^2' } },
      service,
      'npm:onnxruntime-node ^2 wanted, 1.20.1 found',
    ],
    ['an npm package that is not there', { npm: { sharp: '*' } }, service, 'npm:sharp wanted, not installed'],
    ['the same of a service without any', { npm: { sharp: '*' } }, { npm: {} }, 'npm:sharp wanted, not installed'],
    ['a Python package that is not there', { packages: { joblib: '>=1' } }, python, 'joblib wanted, not installed'],
    ['another Python', { python: '~=3.12.0' }, python, 'python ~=3.12.0 wanted, 3.11.7 found'],
  ])('does not hold: %s', (_, requires, runtime, told) => {
    expect(refusal(requires, runtime)).toBe(told);
  });

  it('is refused with everything that is wrong', () => {
    const requires = { python: '~=3.12.0', packages: { 'scikit-learn': '~=1.5.1', joblib: '>=1' } };
    expect(refusal(requires, python)).toBe(
      'python ~=3.12.0 wanted, 3.11.7 found; scikit-learn ~=1.5.1 wanted, 1.4.2 found; joblib wanted, not installed',
    );
  });
});

describe('the facts of this process', () => {
  it('are Node’s, and those of the packages that the service’s main file finds', async () => {
    const folder = await temporaryFolder();
    const install = async (at: string, name: string, manifest: string) => {
      await mkdir(join(folder, at, 'node_modules', name), { recursive: true });
      await writeFile(join(folder, at, 'node_modules', name, 'package.json'), manifest);
    };
    await install('', '@scope/outer', '{"version":"2.0.0"}');
    await install('', 'both', '{"version":"1.0.0"}');
    await install('service', 'both', '{"version":"3.0.0"}');
    await install('', 'broken', 'rubbish');
    const main = process.argv[1]!;
    process.argv[1] = join(folder, 'service', 'main.js');
    onTestFinished(() => void process.argv.splice(1, 1, main));
    const npm = { '@scope/outer': '*', both: '*', broken: '*', absent: '*' };
    expect(await nodeRuntime({ npm })).toEqual({
      node: process.versions.node,
      npm: { '@scope/outer': '2.0.0', both: '3.0.0' },
    });
    expect(await nodeRuntime({})).toEqual({ node: process.versions.node, npm: {} });
  });
});

describe('the facts of an interpreter', () => {
  /** A program that stands for one, which says so and with what it was asked. */
  async function interpreter(script: string): Promise<string> {
    const path = join(await temporaryFolder(), 'python');
    await writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return path;
  }

  it('are asked for by name, always with what joblib services need', async () => {
    const asked = join(await temporaryFolder(), 'asked');
    const path = await interpreter(
      `shift 3; echo "$@" > ${asked}; echo '{"python":"3.11.7","packages":{"joblib":"1.4.0"}}'`,
    );
    const facts = await pythonRuntime(path)({ packages: { joblib: '>=1', xgboost: '~=2.0' } });
    expect(facts).toEqual({ python: '3.11.7', packages: { joblib: '1.4.0' } });
    expect((await readFile(asked, 'utf8')).trim().split(' ')).toEqual(['scikit-learn', 'joblib', 'xgboost']);
  });

  it('of this machine’s own are facts', async () => {
    const { python, packages } = await pythonRuntime('python3')({ packages: { 'no-such-package': '>=1' } });
    expect(python).toMatch(/^3\.\d+/);
    expect(packages).not.toHaveProperty('no-such-package');
  });

  it('are those of its release, where it was built from a working copy', async () => {
    const path = await interpreter(
      `exec python3 -I -c "import platform; platform.python_version = lambda: '3.13.0+'\n$3" scikit-learn`,
    );
    expect((await pythonRuntime(path)({})).python).toBe('3.13.0');
  });

  test.each([
    ['fails', 'exit 3'],
    ['says something else', 'echo hello'],
    ['states no version', `echo '{"python":"three"}'`],
  ])('are an error where it %s', async (_, script) => {
    await expect(pythonRuntime(await interpreter(script))({})).rejects.toThrow();
  });

  it('are an error where there is none', async () => {
    await expect(pythonRuntime('/no/such/python')({})).rejects.toThrow('ENOENT');
  });
});
