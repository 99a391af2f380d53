import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startProgram } from '../support/program.ts';
import { ok, publish, volumeFolder } from './support.ts';

const env = { REGISTRY_DISCOVERY: 'off' };

it('a command warns about the files of its own model only, by paths relative to the volume', async () => {
  const volume = await volumeFolder();
  const first = await startProgram(volume, env);
  for (const model of ['fraud', 'churn']) await publish(first, '1.0.0', { 'model.txt': model }, model);
  await first.stop();
  const file = join(volume, 'models/fraud/versions/1.0.0/model.txt');
  await rm(file);
  await writeFile(file, 'another');
  const program = await startProgram(volume, env);
  const problem = 'models/fraud/versions/1.0.0/model.txt is not what was published';
  expect(await ok(program, 'GET', '/readyz')).toMatchObject({ volume: [problem] });

  const activate = (model: string) => ok(program, 'POST', `/api/models/${model}/versions/1.0.0/activate`, {});
  const started = performance.now();
  expect(await activate('churn')).toMatchObject({ warnings: [] });
  expect(performance.now() - started).toBeLessThan(4_000); // a command that waits does so for 5 s
  expect(await activate('fraud')).toMatchObject({ warnings: [problem] });
  expect(await readFile(join(volume, 'models/churn/active/production/model.txt'), 'utf8')).toBe('churn');
  expect(await readFile(file, 'utf8')).toBe('another');
});
