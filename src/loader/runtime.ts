import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { checkRuntime, type Requires, type Runtime } from '../domain/requires.ts';
import { LoadFailure } from './failure.ts';

/** Returns the facts that `requires` names, about the process that loads the version. */
export type RuntimeFacts = (requires: Requires) => Promise<Runtime>;

/** Node's version and the named packages, resolved from the service's main file, whatever the working folder is. */
export const nodeRuntime: RuntimeFacts = async ({ npm = {} }) => {
  const installed: Record<string, string> = {};
  for (const name of Object.keys(npm)) {
    const version = await installedVersion(name);
    if (version !== null) installed[name] = version;
  }
  return { node: process.versions.node, npm: installed };
};

async function installedVersion(name: string): Promise<string | null> {
  const folders = createRequire(resolve(process.argv[1] ?? 'service.js')).resolve.paths(name) ?? [];
  for (const folder of folders) {
    try {
      return JSON.parse(await readFile(join(folder, name, 'package.json'), 'utf8')).version;
    } catch {
      // not in this folder
    }
  }
  return null;
}

/**
 * Checks a version's constraints of the kinds that the process states. A Node service ignores those on Python: they are
 * about the training pipeline.
 *
 * @throws {LoadFailure} runtime-mismatch
 */
export function checkRequires(requires: Requires, runtime: Runtime): void {
  const { mismatches, unstated } = checkRuntime(requires, runtime, 'loader');
  const absent = unstated.filter((name) => {
    if (name === 'python' || name === 'node') return false;
    return name.startsWith('npm:') ? runtime.npm !== undefined : runtime.packages !== undefined;
  });
  if (mismatches.length === 0 && absent.length === 0) return;
  const unmet = [
    ...mismatches.map(({ name, expected, actual }) => `${name} ${expected} wanted, ${actual} found`),
    ...absent.map((name) => `${name} wanted, not installed`),
  ];
  throw new LoadFailure('runtime-mismatch', unmet.join('; '));
}
