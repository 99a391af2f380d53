import { Command } from 'commander';
import type { VersionView } from '../api/views.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printJson, printLine, printLines } from './helpers/output.ts';

export function notesCommand(): Command {
  return withConnection(new Command('notes'))
    .description('print the notes of a version, or replace them')
    .argument('<version>')
    .argument('[text]', 'the new notes; the old ones stay in the history')
    .addHelpText('after', '\nExample:\n  signalbox notes 1.2.0 "watch the drift of feature 7"')
    .action(async (version: string, text: string | undefined, { json, ...options }) => {
      const { client, base } = openConnection(options);
      const path = `${base}/versions/${encodeURIComponent(version)}`;
      const state =
        text === undefined
          ? await client.call<VersionView>('GET', path)
          : await client.call<VersionView>('PATCH', `${path}/notes`, { json: { notes: text } });
      if (json) printJson(state);
      else if (text === undefined) printLines(state.notes);
      else printLine(`Changed the notes of ${version}.`);
    });
}
