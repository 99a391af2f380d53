import type { z } from 'zod';
import { activeMap } from '../domain/model.ts';
import { ArchiveInput } from './archive.ts';
import type { Command } from './command.ts';
import { requireVersion } from './rules/known.ts';

/** Puts an archived version back into use. */
export const unarchive: Command<z.infer<typeof ArchiveInput>> = {
  // The name is part of the hash under which the outcome of an idempotency key is kept, so it stays.
  name: 'restore',
  permission: 'operate',
  input: ArchiveInput,
  decide(model, { version, reason = null }, context) {
    if (requireVersion(model, version).status === 'ready') return { unchanged: model.revision };
    const active = activeMap(model, context.environments);
    return { draft: { type: 'version.restored', data: { version, reason, active } } };
  },
};
