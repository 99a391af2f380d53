import { z } from 'zod';
import type { Reads } from '../artifacts/artifacts.ts';
import { readSmallBlob } from '../artifacts/read-small.ts';
import { Problem } from '../domain/errors.ts';
import { type Artifact, canonicalManifest, digestOf, MAX_MANIFEST_BYTES, Manifest } from '../domain/manifest.ts';
import { METADATA_FILES, requiresFromMetadata } from '../domain/metadata.ts';
import { activeMap, type Model } from '../domain/model.ts';
import { isReferred, type Reference } from '../domain/reference.ts';
import { bumped, isVersion, Version } from '../domain/versions.ts';
import type { Command } from './command.ts';
import { Notes } from './notes.ts';
import { requireBytes } from './rules/bytes.ts';

const fields = {
  ...Manifest.shape,
  // Absent means that the files state it; "{}" means that nothing is required.
  requires: Manifest.shape.requires.unwrap().optional(),
  version: Version.optional(),
  bump: z.enum(['major', 'minor', 'patch']).optional(),
  notes: Notes.optional(),
};

export const PublishBody = z
  .strictObject(fields)
  .refine((body) => (body.version === undefined) !== (body.bump === undefined), 'needs version or bump, and not both');
export type PublishInput = z.infer<typeof PublishBody>;

/**
 * Publishes a version whose bytes are in the store, or at sources that were verified. Publishing the same content again
 * changes nothing; other content is refused.
 */
export const publish: Command<PublishInput> = {
  name: 'publish',
  permission: 'publish',
  input: PublishBody,

  async prepare(input, reads) {
    return input.requires ? input : { ...input, requires: await requiresInArtifacts(input.artifacts, reads) };
  },

  refersTo: ({ artifacts }) => artifacts,
  // If the version exists, the answer depends on its manifest only.
  sources: (model, { version, artifacts }) =>
    version !== undefined && model.record(version) ? [] : artifacts.filter(isReferred),
  needs: (_model, { artifacts }) => artifacts.filter((artifact) => !isReferred(artifact)),

  decide(model, { version: wanted, bump, notes = '', ...fields }, context) {
    const { artifacts } = fields;
    const manifest: Manifest = { ...fields, requires: fields.requires ?? {} };
    const canonical = canonicalForm(manifest);
    const manifest_digest = digestOf(canonical);
    const version = wanted ?? bumped(model.highest, bump!);
    if (!isVersion(version)) throw new Problem('invalid-request', `There is no ${bump} version after the highest one.`);
    const published = model.record(version);
    if (published?.manifest_digest === manifest_digest) return { unchanged: published.revision };
    if (published) throw versionExists(model, version, published.manifest_digest, manifest_digest);
    requireBytes(context.missing);
    const verified = verifiedIn(artifacts, context.verified);
    const active = activeMap(model, context.environments);
    return {
      draft: { type: 'version.published', data: { version, manifest, manifest_digest, notes, ...verified, active } },
    };
  },
};

/** @throws {Problem} artifact-missing if a source was not verified */
function verifiedIn(artifacts: readonly Artifact[], found: readonly Reference[]) {
  const etags = new Map<string, string | null>();
  for (const { path, source, digest, size } of artifacts.filter(isReferred)) {
    const reference = found.find((one) => one.source === source && one.digest === digest && one.size === size);
    if (!reference) throw new Problem('artifact-missing', `The source of ${path} was not verified.`, { path, source });
    etags.set(source, reference.etag);
  }
  return etags.size === 0 ? {} : { verified: Array.from(etags, ([source, etag]) => ({ source, etag })) };
}

function versionExists(model: Model, version: string, published: string, offered: string): Problem {
  const detail = `${model.name} ${version} was published with other content; publish under another version.`;
  return new Problem('version-exists', detail, { version, expected: published, actual: offered });
}

function canonicalForm(manifest: Manifest): string {
  const canonical = canonicalManifest(manifest);
  if (Buffer.byteLength(canonical) <= MAX_MANIFEST_BYTES) return canonical;
  throw new Problem('too-large', `The manifest is over ${MAX_MANIFEST_BYTES} bytes.`);
}

async function requiresInArtifacts(listed: readonly Artifact[], reads: Reads) {
  const documents: unknown[] = [];
  for (const name of METADATA_FILES) {
    const artifact = listed.find(({ path }) => path === name);
    // The decision refuses missing bytes, after all other reasons.
    const text = artifact && (await readSmallBlob(reads, artifact.digest));
    if (text) documents.push(parseMetadata(name, text));
  }
  return requiresFromMetadata(documents);
}

function parseMetadata(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Problem('invalid-request', `${path} is not JSON.`, { path }, cause);
  }
}
