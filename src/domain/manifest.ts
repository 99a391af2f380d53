import canonicalize from 'canonicalize';
import { z } from 'zod';
import { Digest, sha256Hex } from './digest.ts';
import { Json, record } from './json.ts';
import { Requires } from './requires.ts';
import { Source } from './source.ts';

export const MAX_MANIFEST_BYTES = 256 * 1024;
export const MAX_ARTIFACTS = 1000;
export const MAX_PATH_LENGTH = 1024;

/** `isPlainName` as a regular expression, for the API's documentation. */
const PLAIN_NAME = '(?!\\.{1,2}(?:/|$))[^\\u0000-\\u001f\\u007f\\\\/:*?"<>|]+';

const ArtifactPath = z
  .string()
  .max(MAX_PATH_LENGTH)
  .refine(isArtifactPath, 'must be a relative path of plain names separated by /, without . and ..')
  .meta({ example: 'model.joblib', pattern: `^${PLAIN_NAME}(/${PLAIN_NAME})*$` });

export const Artifact = z.strictObject({
  path: ArtifactPath,
  digest: Digest,
  size: z.int().min(0).max(Number.MAX_SAFE_INTEGER),
  source: Source.optional().meta({ description: 'Where the bytes stay, if the store does not keep them' }),
});
export type Artifact = z.infer<typeof Artifact>;

const Scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const Artifacts = z
  .array(Artifact)
  .min(1)
  .max(MAX_ARTIFACTS)
  .superRefine((artifacts, context) => {
    const clash = pathClash(artifacts.map((artifact) => artifact.path));
    if (clash)
      context.addIssue({ code: 'custom', message: `${clash} equals (ignoring case) or contains another path` });
  });

/** The content of a version. Its digest covers all fields, with their defaults filled in. */
export const Manifest = z.strictObject({
  flavor: z.string().min(1).max(64).default('custom').meta({ example: 'sklearn' }),
  artifacts: Artifacts,
  requires: Requires.default({}),
  metrics: record(z.number()).default({}),
  params: record(Scalar).default({}),
  tags: record(z.string()).default({}),
  lineage: record(z.json()).default({}),
  signature: Json.nullable().default(null).meta({ description: 'The input and output schema' }),
});
export type Manifest = z.infer<typeof Manifest>;

/** Whether a path stays inside the folder it is resolved against, on every system that may mount a volume. */
export function isArtifactPath(path: string): boolean {
  return path.split('/').every(isPlainName);
}

function isPlainName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression matches control characters to refuse them
  const unsafe = /[\u0000-\u001f\u007f\\:*?"<>|]/;
  return name !== '' && name !== '.' && name !== '..' && !unsafe.test(name) && Buffer.byteLength(name) <= 255;
}

/** Returns a path that equals another one, differs from it only in case, or is a folder of it; else null. */
function pathClash(paths: string[]): string | null {
  // Sorted, a path comes right before those that start with it, so comparing neighbors is enough.
  const folded = paths.map((path) => ({ path, folder: `${path.normalize('NFC').toLowerCase()}/` }));
  folded.sort((a, b) => (a.folder < b.folder ? -1 : 1));
  return folded.find(({ folder }, i) => folded[i + 1]?.folder.startsWith(folder))?.path ?? null;
}

/** Returns one artifact for each distinct digest. */
export function distinctBlobs(artifacts: readonly Artifact[]): Artifact[] {
  return [...new Map(artifacts.map((artifact) => [artifact.digest, artifact])).values()];
}

/** Returns canonical JSON (RFC 8785), with artifacts sorted by path: the bytes that `…/manifest` serves. */
export function canonicalManifest(manifest: Manifest): string {
  const artifacts = manifest.artifacts.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return canonicalize({ ...manifest, artifacts })!;
}

export function digestOf(canonical: string): Digest {
  return `sha256:${sha256Hex(canonical)}`;
}
