import { activate } from './activate.ts';
import { archive } from './archive.ts';
import { deactivate } from './deactivate.ts';
import { declareRuntime } from './declare-runtime.ts';
import { notes } from './notes.ts';
import { publish } from './publish.ts';
import { rollback } from './rollback.ts';
import { unarchive } from './unarchive.ts';

/** The name of every command. */
export const COMMAND_NAMES: readonly string[] = [
  activate,
  archive,
  deactivate,
  declareRuntime,
  notes,
  publish,
  unarchive,
  rollback,
].map(({ name }) => name);
