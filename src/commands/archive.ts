import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { activeIn, activeMap } from '../domain/model.ts';
import { Version } from '../domain/versions.ts';
import { type Command, Reason } from './command.ts';
import { requireVersion } from './rules/known.ts';

export const ArchiveBody = z.strictObject({ reason: Reason.optional() });
export const ArchiveInput = ArchiveBody.extend({ version: Version });

/** Takes a version out of use: it is no longer `latest` and cannot be activated. An active one is refused. */
export const archive: Command<z.infer<typeof ArchiveInput>> = {
  name: 'archive',
  permission: 'operate',
  input: ArchiveInput,
  decide(model, { version, reason = null }, context) {
    const current = requireVersion(model, version);
    if (current.status === 'archived') return { unchanged: model.revision };
    const environments = activeIn(model, version);
    if (environments.length > 0) {
      const detail = `${version} is active in ${environments.join(', ')}; activate another version there first.`;
      throw new Problem('version-active', detail, { version, active_in: environments });
    }
    const active = activeMap(model, context.environments);
    return { draft: { type: 'version.archived', data: { version, reason, active } } };
  },
};
