import { readFile, readlink, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Check } from '../../src/setup/check.ts';
import { temporaryFolder } from '../support/folder.ts';
import { freePort, startNats } from '../support/nats.ts';
import { cliWith, type Program, type Run, startProgram } from '../support/program.ts';
import { copySample, laid, ok, publish, until, volumeFolder, wholeHistory } from './support.ts';

/** The commands of docs/moving.md, with the volume and the NATS server of the test. */
function commands(volume: string, NATS_URL: string) {
  const variables = { NATS_URL, REGISTRY_VOLUME: volume };
  return {
    export: async (file: string) => fine(await cliWith(variables, 'export', file)),
    restore: async (file: string) => fine(await cliWith(variables, 'restore', file, '--yes')),
    serve: () => startProgram(volume, { NATS_URL, REGISTRY_DISCOVERY: 'off' }),
    refused: async () => (await cliWith({ ...variables, PORT: '0' }, 'serve')).stderr,
    async doctor() {
      const REGISTRY_DSN = `http://127.0.0.1:${await freePort()}`;
      const { stdout } = await cliWith({ ...variables, REGISTRY_DSN }, 'doctor', '--json');
      return (JSON.parse(stdout) as { checks: Check[] }).checks.find(({ name }) => name === 'position');
    },
  };
}

function fine(run: Run): void {
  expect(run, run.stderr).toMatchObject({ code: 0 });
}

async function expectWhole(program: Program, history: unknown, active: string): Promise<void> {
  expect(await wholeHistory(program)).toEqual(history);
  await laid(program);
  expect(await ok(program, 'GET', '/readyz')).toMatchObject({ ready: true, volume: [], artifacts: [] });
  expect(await readlink(join(program.volume, 'active/production'))).toBe(`../versions/${active}`);
  const file = await program.ask('GET', `/api/models/default/versions/${active}/files/metadata.json`);
  expect(await file.text()).toBe(await readFile(join(program.volume, 'versions', active, 'metadata.json'), 'utf8'));
}

it('a registry moves from its embedded log to a NATS of its own, and back', { timeout: 180_000 }, async () => {
  const volume = await volumeFolder();
  const files = await temporaryFolder();
  const embedded = commands(volume, '');
  const nats = await startNats(process.env.NATS_SERVER_BIN!);
  const external = commands(volume, nats.url);

  await copySample('1.0.0', join(volume, 'versions/1.0.0'));
  const tour = await startProgram(volume, { NATS_URL: '' });
  await until(async () => (await tour.ask('GET', '/api/models/default/versions/1.0.0')).ok);
  await ok(tour, 'POST', '/api/models/default/versions/1.0.0/activate', { reason: 'first model' });
  const history = await wholeHistory(tour);
  await tour.stop();

  expect(await external.doctor()).toMatchObject({
    status: 'wrong',
    detail: expect.stringContaining('this one is empty'),
  });
  const refusal = await external.refused();
  expect(refusal).toContain(
    `The log is not the one that ${volume} was built from: that log had revision 2, this one is empty.`,
  );
  expect(refusal).toContain(`its log is in ${volume}/.nats: unset NATS_URL`);
  expect(refusal).toContain('docs/moving.md');
  expect(await embedded.doctor()).toBeUndefined();

  await embedded.export(join(files, 'log.jsonl'));
  await external.restore(join(files, 'log.jsonl'));
  expect(await external.doctor()).toBeUndefined();
  const moved = await external.serve();
  await expectWhole(moved, history, '1.0.0');
  await publish(moved, '1.1.0', { 'metadata.json': '{}' });
  await ok(moved, 'POST', '/api/models/default/versions/1.1.0/activate', { reason: 'after the move' });
  const longer = await wholeHistory(moved);
  await moved.stop();

  // The embedded log still exists and is out of date.
  expect(await embedded.refused()).toContain('that log had revision 4, this one ends at 2.');
  await external.export(join(files, 'back.jsonl'));
  await rename(join(volume, '.nats'), join(files, 'nats-before'));
  expect(await embedded.doctor()).toMatchObject({ status: 'wrong', detail: expect.stringContaining('is not in') });
  expect(await embedded.refused()).toContain('If it was built with NATS_URL, set that again');
  await embedded.restore(join(files, 'back.jsonl'));
  await expectWhole(await embedded.serve(), longer, '1.1.0');
});
