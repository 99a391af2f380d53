import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import type { LaidView } from '../api/views.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printJson, printLine } from './helpers/output.ts';

const AGAIN_MS = 500;

export function layCommand(): Command {
  return withConnection(new Command('lay'))
    .description('make the folder of a version on the volume, although it is neither active nor latest')
    .argument('<version>')
    .addHelpText('after', '\nExample:\n  signalbox lay 1.0.0 -m fraud')
    .action(async (version: string, { json, ...options }) => {
      const { client, base } = openConnection(options);
      const path = `${base}/versions/${encodeURIComponent(version)}/lay`;
      let state = await client.call<LaidView>('POST', path);
      while (!state.laid && state.warnings.length === 0) {
        await sleep(AGAIN_MS);
        state = await client.call<LaidView>('POST', path);
      }
      if (json) printJson(state);
      else if (state.laid) printLine(`versions/${version} is on the volume.`);
      else for (const warning of state.warnings) printLine(warning);
      if (!state.laid) process.exitCode = 1;
    });
}
