import { z } from 'zod';
import { LaidView } from '../../api/views.ts';
import { route } from '../server/route.ts';
import { findVersion } from './find.ts';
import { ofVersion } from './params.ts';

const lay = route({
  method: 'POST',
  path: '/api/models/:model/versions/:version/lay',
  permission: 'operate',
  summary:
    "Make the folder of a version on this server's volume, although it is neither active nor latest; 202 if that takes longer than 5 seconds: ask again",
  event_type: 'version.laid',
  params: ofVersion,
  body: z.strictObject({}),
  answer: { status: 200, schema: LaidView },
  errors: ['unknown-model', 'unknown-version'],
  async handle({ params: { model, version } }, services) {
    findVersion(services, model, version);
    const laid = await services.lay(model, version);
    const warnings = laid ? [] : services.volumeProblems(model);
    return { status: laid ? 200 : 202, json: { version, laid, warnings } };
  },
});

export const layRoutes = [lay];
