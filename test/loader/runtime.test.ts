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

describe('requires', () => {
  test.each<[string, Requires, Runtime]>([
    ['nothing', {}, service],
    ['a process that states nothing', { python: '~=3.9.0', npm: { a: '1' } }, {}],
    ['the training pipeline’s Python', { python: '~=3.9.0', packages: { 'scikit-learn': '~=1.5.1' } }, service],
    ['an installed Node and package', { node: '>=22', npm: { 'onnxruntime-node': '^1.19' } }, service],
    ['Node, in a Python service', { node: '>=99', npm: { a: '1' } }, python],
    ['Python, and a package in another spelling', { python: '>=3.11', packages: { Scikit_Learn: '~=1.4.0' } }, python],
  ])('holds: %s', (_, requires, runtime) => {
    expect(refusal(requires, runtime)).toBeNull();
  });

  test.each<[string, Requires, Runtime, string]>([
    ['an older Node', { node: '<20' }, service, 'node <20 wanted, 24.1.0 found'],
    [
      'another version of a package',
      { npm: { 'onnxruntime-node': '^2' } },
      service,
      'npm:onnxruntime-node ^2 wanted, 1.20.1 found',
    ],
    ['a missing npm package', { npm: { sharp: '*' } }, service, 'npm:sharp wanted, not installed'],
    [
      'the same in a service without npm packages',
      { npm: { sharp: '*' } },
      { npm: {} },
      'npm:sharp wanted, not installed',
    ],
    ['a missing Python package', { packages: { joblib: '>=1' } }, python, 'joblib wanted, not installed'],
    ['another Python', { python: '~=3.12.0' }, python, 'python ~=3.12.0 wanted, 3.11.7 found'],
  ])('does not hold: %s', (_, requires, runtime, reason) => {
    expect(refusal(requires, runtime)).toBe(reason);
  });

  it('names every mismatch', () => {
    const requires = { python: '~=3.12.0', packages: { 'scikit-learn': '~=1.5.1', joblib: '>=1' } };
    expect(refusal(requires, python)).toBe(
      'python ~=3.12.0 wanted, 3.11.7 found; scikit-learn ~=1.5.1 wanted, 1.4.2 found; joblib wanted, not installed',
    );
  });
});

describe('nodeRuntime', () => {
  it('states Node and the packages that the service’s main file resolves', async () => {
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

describe('pythonRuntime', () => {
  /** A script in place of an interpreter. */
  async function interpreter(script: string): Promise<string> {
    const path = join(await temporaryFolder(), 'python');
    await writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return path;
  }

  it('queries packages by name, and always scikit-learn and joblib', async () => {
    const names = join(await temporaryFolder(), 'names');
    const path = await interpreter(
      `shift 3; echo "$@" > ${names}; echo '{"python":"3.11.7","packages":{"joblib":"1.4.0"}}'`,
    );
    const facts = await pythonRuntime(path)({ packages: { joblib: '>=1', xgboost: '~=2.0' } });
    expect(facts).toEqual({ python: '3.11.7', packages: { joblib: '1.4.0' } });
    expect((await readFile(names, 'utf8')).trim().split(' ')).toEqual(['scikit-learn', 'joblib', 'xgboost']);
  });

  it('works with this machine’s Python', async () => {
    const { python, packages } = await pythonRuntime('python3')({ packages: { 'no-such-package': '>=1' } });
    expect(python).toMatch(/^3\.\d+/);
    expect(packages).not.toHaveProperty('no-such-package');
  });

  it('states the release of a Python built from a working copy', async () => {
    const path = await interpreter(
      `exec python3 -I -c "import platform; platform.python_version = lambda: '3.13.0+'\n$3" scikit-learn`,
    );
    expect((await pythonRuntime(path)({})).python).toBe('3.13.0');
  });

  test.each([
    ['fails', 'exit 3'],
    ['prints something else', 'echo hello'],
    ['states an invalid version', `echo '{"python":"three"}'`],
  ])('are an error where it %s', async (_, script) => {
    await expect(pythonRuntime(await interpreter(script))({})).rejects.toThrow();
  });

  it('fails if the interpreter does not exist', async () => {
    await expect(pythonRuntime('/no/such/python')({})).rejects.toThrow('ENOENT');
  });
});
