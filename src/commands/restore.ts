import type { z } from 'zod';
import { activeMap } from '../domain/model.ts';
import { ArchiveInput } from './archive.ts';
import { type Command, versionOf } from './command.ts';

/** Puts an archived version back into use. */
export const restore: Command<z.infer<typeof ArchiveInput>> = {
  name: 'restore',
  input: ArchiveInput,
  decide(model, { version, reason = null }, context) {
    if (versionOf(model, version).status === 'ready') return { unchanged: model.revision };
    const active = activeMap(model, context.environments);
    return { draft: { type: 'version.restored', data: { version, reason, active } } };
  },
};
