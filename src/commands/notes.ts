import { z } from 'zod';
import { activeMap } from '../domain/model.ts';
import { Version } from '../domain/versions.ts';
import type { Command } from './command.ts';
import { requireVersion } from './rules/known.ts';

const MAX_NOTES_BYTES = 16 * 1024;

export const Notes = z
  .string()
  .refine((text) => Buffer.byteLength(text) <= MAX_NOTES_BYTES, `must be at most ${MAX_NOTES_BYTES} bytes`);

export const NotesBody = z.strictObject({ notes: Notes });
const Input = NotesBody.extend({ version: Version });

/** Replaces a version's notes; the earlier ones stay in the history. */
export const notes: Command<z.infer<typeof Input>> = {
  name: 'notes',
  permission: 'operate',
  input: Input,
  decide(model, { version, notes }, context) {
    const current = requireVersion(model, version);
    if (current.notes === notes) return { unchanged: model.revision };
    const active = activeMap(model, context.environments);
    return { draft: { type: 'notes.changed', data: { version, notes, active } } };
  },
};
