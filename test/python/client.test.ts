import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../support/folder.ts';
import { pythonWith } from '../support/python.ts';

const client = join(import.meta.dirname, '../../clients/python');
const A_MINUTE = 60_000;

test('the Python client passes its tests', { timeout: 25 * A_MINUTE }, async () => {
  const python = await pythonWith(join(client, 'requirements-dev.txt'));
  const older = await pythonWith(join(client, 'requirements-older-sklearn.txt'));
  const env = { SIGNALBOX_NODE: process.execPath, SIGNALBOX_OLDER_PYTHON: older };
  const { code, output } = await runIn(python, ['-m', 'pytest', '-q', '-rs', '-p', 'no:cacheprovider'], env);
  expect(code, output).toBe(0);
  expect(output, 'both releases of scikit-learn were tested').not.toContain('SIGNALBOX_OLDER_PYTHON');
});

test('the Python client has no type errors', { timeout: 25 * A_MINUTE }, async () => {
  const python = await pythonWith(join(client, 'requirements-dev.txt'));
  const cache = await temporaryFolder();
  const { code, output } = await runIn(python, ['-m', 'mypy', '--strict', '--cache-dir', cache], {});
  expect(code, output).toBe(0);
});

function runIn(python: string, args: string[], variables: Record<string, string>) {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...variables };
  const options = { cwd: client, env, timeout: 8 * A_MINUTE, maxBuffer: 64 * 1024 * 1024 };
  return new Promise<{ code: unknown; output: string }>((resolve) => {
    execFile(python, args, options, (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? error.signal) : 0, output: `${stdout}\n${stderr}` });
    });
  });
}
