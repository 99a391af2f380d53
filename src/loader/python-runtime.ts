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
 * Returns facts about an interpreter. Every call runs it again, because its packages may have changed.
 *
 * The facts reject with an {Error} if the interpreter fails or takes more than 30 s.
 */
export function pythonRuntime(interpreter: string): RuntimeFacts {
  return async ({ packages = {} }) => {
    const names = new Set([...ALWAYS, ...Object.keys(packages)]);
    // Isolated (-I): a module in the working folder or PYTHONPATH must not replace one of the standard library.
    const { stdout } = await promisify(execFile)(interpreter, ['-I', '-c', SCRIPT, ...names], { timeout: TIMEOUT_MS });
    return Runtime.parse(JSON.parse(stdout));
  };
}
