import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import { ComparisonView } from '../../api/comparison.ts';
import { versionView } from '../../api/views.ts';
import { type ComparedVersion, compareFields } from '../../domain/compare.ts';
import { Version } from '../../domain/versions.ts';
import { type Reply, route } from '../server/route.ts';
import type { Services } from '../services.ts';
import { findVersion } from './find.ts';
import { ofModel } from './params.ts';

const MAX_VERSIONS = 10;
/** All values of ten manifests fit into it; the names of the fields may not. */
const MAX_BYTES = 4 * 1024 * 1024;
/** After so many fields, other requests have their turn. */
const TURN = 500;

const Versions = z
  .string()
  .max(2_000)
  .transform((text) => text.split(','))
  .pipe(
    z
      .array(Version)
      .min(2, 'must name at least 2 versions, separated by commas')
      .max(MAX_VERSIONS, `must name at most ${MAX_VERSIONS} versions`)
      .refine((names) => new Set(names).size === names.length, 'must not name a version twice'),
  )
  .meta({ description: `2 to ${MAX_VERSIONS} versions, separated by commas`, example: '1.0.0,1.1.0' });

const compare = route({
  method: 'GET',
  path: '/api/models/:model/compare',
  permission: 'read',
  summary: 'Versions side by side: each field with its value in every version, and whether it differs',
  params: ofModel,
  query: z.object({
    versions: Versions,
    differing: z.stringbool().optional().meta({ description: 'Only the fields that differ' }),
  }),
  answer: { status: 200, schema: ComparisonView },
  errors: ['unknown-model', 'unknown-version'],
  async handle({ params: { model }, query: { versions, differing } }, services) {
    const states = versions.map((version) => comparedVersion(services, model, version));
    return comparisonReply(model, states, differing ?? false);
  },
});

/** @throws {Problem} unknown-model, unknown-version */
function comparedVersion(services: Services, name: string, version: string): ComparedVersion {
  const { model, state } = findVersion(services, name, version);
  return versionView(model, state);
}

async function comparisonReply(model: string, states: ComparedVersion[], differing: boolean): Promise<Reply> {
  const { texts, complete } = await fieldTexts(states, differing);
  const versions = states.map(({ version }) => version);
  const same_content = states.every(({ manifest_digest }) => manifest_digest === states[0]!.manifest_digest);
  const head = JSON.stringify({ model, versions, same_content, complete });
  return { body: `${head.slice(0, -1)},"fields":[${texts.join(',')}]}` };
}

/** Returns the JSON of the fields, as many as fit into an answer. */
async function fieldTexts(states: ComparedVersion[], differing: boolean) {
  const texts: string[] = [];
  let bytes = 0;
  let seen = 0;
  for (const field of compareFields(states)) {
    if (++seen % TURN === 0) await setImmediate();
    if (differing && !field.differs) continue;
    const text = JSON.stringify(field);
    bytes += Buffer.byteLength(text);
    if (bytes > MAX_BYTES) return { texts, complete: false };
    texts.push(text);
  }
  return { texts, complete: true };
}

export const compareRoutes = [compare];
