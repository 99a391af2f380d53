import canonicalize from 'canonicalize';
import { sha256Hex } from '../../domain/digest.ts';
import { Json } from '../../domain/json.ts';
import { Violation } from '../finding.ts';

export interface Artifact {
  path: string;
  digest: string;
  size: number;
  source?: string;
}

export interface Manifest {
  flavor: string;
  artifacts: Artifact[];
  requires: Record<string, unknown>;
  metrics: Record<string, number>;
  params: Record<string, unknown>;
  tags: Record<string, string>;
  lineage: Record<string, unknown>;
  signature: unknown;
}

const FIELDS = ['artifacts', 'flavor', 'lineage', 'metrics', 'params', 'requires', 'signature', 'tags'];
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Checks the fields and artifacts of a manifest, and its digest: the SHA-256 of its RFC 8785 form, with the artifacts
 * sorted by path.
 *
 * @throws {Violation}
 */
export function checkManifest(manifest: Record<string, unknown>, digest: string): void {
  const fields = Object.keys(manifest).sort();
  if (fields.join() !== FIELDS.join()) throw wrong('The manifest has wrong fields.', FIELDS, fields);
  // Before any recursion, which deep nesting would end with a stack overflow.
  if (!Json.safeParse(manifest).success) throw wrong('The manifest is nested too deeply.');
  if (typeof manifest.flavor !== 'string') throw wrong('The manifest’s flavor is not a string.');
  for (const field of ['lineage', 'metrics', 'params', 'requires', 'tags']) {
    const value = manifest[field];
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) continue;
    throw wrong(`The manifest’s ${field} is not an object.`, null, value);
  }
  checkArtifacts(manifest.artifacts);
  const actual = digestOf(manifest as unknown as Manifest);
  if (actual !== digest) throw wrong('The manifest does not match manifest_digest.', digest, actual);
}

function digestOf(manifest: Manifest): string {
  const artifacts = [...manifest.artifacts].sort((a, b) => (a.path < b.path ? -1 : 1));
  try {
    return `sha256:${sha256Hex(canonicalize({ ...manifest, artifacts })!)}`;
  } catch {
    // RFC 8785 does not allow strings with lone surrogates.
    throw wrong('The manifest has no canonical form (RFC 8785).');
  }
}

function checkArtifacts(artifacts: unknown): asserts artifacts is Artifact[] {
  if (!Array.isArray(artifacts) || artifacts.length === 0) throw wrong('The manifest lists no files.');
  const paths = new Set<string>();
  for (const artifact of artifacts as Partial<Artifact>[]) {
    const { path, digest, size, source } = artifact ?? {};
    if (typeof path !== 'string' || !isInside(path)) throw wrong('Invalid artifact path.', null, path);
    if (typeof digest !== 'string' || !DIGEST.test(digest)) {
      throw wrong(`The digest of ${path} is invalid.`, null, digest);
    }
    if (!Number.isSafeInteger(size) || size! < 0) throw wrong(`The size of ${path} is invalid.`, null, size);
    if (source !== undefined && typeof source !== 'string')
      throw wrong(`The source of ${path} is invalid.`, null, source);
    // Some file systems ignore case.
    paths.add(path.normalize('NFC').toLowerCase());
  }
  if (paths.size < artifacts.length) throw wrong('The manifest lists a file twice.');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are refused
const UNSAFE = /[\u0000-\u001f\u007f\\:*?"<>|]/;

function wrong(what: string, expected: unknown = null, actual: unknown = null): Violation {
  return new Violation('manifest', what, expected, actual);
}

/** Whether a path stays inside the version’s folder, and is valid on every file system. */
function isInside(path: string): boolean {
  return path.split('/').every((name) => !['', '.', '..'].includes(name) && !UNSAFE.test(name));
}
