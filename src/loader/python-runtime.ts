import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Runtime } from '../domain/requires.ts';
import type { RuntimeFacts } from './runtime.ts';

const TIMEOUT_MS = 30_000;
const ALWAYS = ['scikit-learn', 'joblib'];

const SCRIPT = `
import json, platform, sys
from importlib import metadata
packages = {}
for name in sys.argv[1:]:
    try:
        packages[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({"python": platform.python_version().rstrip("+"), "packages": packages}))
`;

/**
 * Asks an interpreter, each time: its packages may have been changed since. The facts are the interpreter's own words.
 *
 * @throws {Error} where it does not answer
 */
export function pythonRuntime(interpreter: string): RuntimeFacts {
  return async ({ packages = {} }) => {
    const names = new Set([...ALWAYS, ...Object.keys(packages)]);
    // Isolated: a module in the working folder, or PYTHONPATH, must not stand in for the library's own.
    const { stdout } = await promisify(execFile)(interpreter, ['-I', '-c', SCRIPT, ...names], { timeout: TIMEOUT_MS });
    return Runtime.parse(JSON.parse(stdout));
  };
}
