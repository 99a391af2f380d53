import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Digest } from '../domain/digest.ts';
import { type Artifact, canonicalManifest, MAX_MANIFEST_BYTES, Manifest } from '../domain/manifest.ts';
import { METADATA_FILES, mergeRequires, requiresFromMetadata, requiresFromRequirements } from '../domain/metadata.ts';
import { readMlModel } from '../domain/mlmodel.ts';
import { filesToPublish } from './folder.ts';

const CHUNKS = { highWaterMark: 1024 * 1024 };
const MAX_TEXT_BYTES = 1024 * 1024;

/**
 * Builds the manifest of a folder: hashes its files, and reads `metadata.json`, `training_metadata.json`, `MLmodel` and
 * `requirements.txt`, where an earlier file takes precedence. Model files are only read as bytes, never loaded.
 *
 * @throws {Error} for a folder that cannot be a version, before hashing if the file names already show it
 */
export async function describeFolder(folder: string): Promise<Manifest> {
  const files = await filesToPublish(folder);
  return describeFiles({ name: folder, files, open: async (path) => createReadStream(join(folder, path), CHUNKS) });
}

/** The files of a version, wherever they are. */
export interface Files {
  /** For messages. */
  name: string;
  files: readonly { path: string; size: number }[];
  open(path: string): Promise<AsyncIterable<Uint8Array>>;
}

/** Builds the manifest of files as `describeFolder` does. */
export async function describeFiles(given: Files): Promise<Manifest> {
  const { name: folder, files } = given;
  if (files.length === 0) throw new Error(`${folder} contains no files.`);
  const text = (path: string) => readText(given, path);
  const documents: unknown[] = [];
  for (const name of METADATA_FILES) {
    const content = await text(name);
    if (content !== null) documents.push(parseJson(join(folder, name), content));
  }
  const mlmodel = readMlModel((await text('MLmodel')) ?? '');
  const requires = mergeRequires(
    requiresFromMetadata(documents),
    mlmodel?.requires ?? {},
    requiresFromRequirements((await text('requirements.txt')) ?? ''),
  );
  const artifacts: Artifact[] = [];
  for (const { path, size } of files) artifacts.push({ path, digest: await hashOf(await given.open(path)), size });
  const fields = { flavor: flavorOf(documents, files), ...mlmodel, ...fieldsIn(documents) };
  return checked(folder, { ...fields, requires, artifacts });
}

/** Refuses, before anything is sent, what the server would refuse. */
function checked(folder: string, fields: unknown): Manifest {
  const { data: manifest, error } = Manifest.safeParse(fields);
  if (error) throw new Error(`${folder} cannot be published:\n${z.prettifyError(error)}`, { cause: error });
  const bytes = Buffer.byteLength(canonicalManifest(manifest));
  if (bytes <= MAX_MANIFEST_BYTES) return manifest;
  throw new Error(`The manifest of ${folder} would have ${bytes} bytes; the maximum is ${MAX_MANIFEST_BYTES}.`);
}

const described = ['flavor', 'metrics', 'params', 'tags', 'lineage', 'signature'] as const;

/** Takes the manifest's fields from the metadata documents, if they have the manifest's shape. */
function fieldsIn(documents: unknown[]): Partial<Manifest> {
  const taken: Record<string, unknown> = {};
  for (const document of documents.toReversed()) {
    const fields = z.record(z.string(), z.unknown()).safeParse(document).data ?? {};
    for (const name of described) {
      const value = fields[name] === undefined ? undefined : Manifest.shape[name].safeParse(fields[name]).data;
      if (value !== undefined) taken[name] = value;
    }
  }
  return taken;
}

function flavorOf(documents: unknown[], files: Files['files']): string {
  const sklearn = requiresFromMetadata(documents).packages?.['scikit-learn'] !== undefined;
  const pickled = files.some(({ path }) => /\.(joblib|pkl|pickle)$/.test(path));
  if (sklearn && pickled) return 'sklearn';
  return files.some(({ path }) => path.endsWith('.onnx')) ? 'onnx' : 'custom';
}

async function readText({ files, open }: Files, path: string): Promise<string | null> {
  const file = files.find((candidate) => candidate.path === path);
  if (!file || file.size > MAX_TEXT_BYTES) return null;
  const chunks: Uint8Array[] = [];
  for await (const chunk of await open(path)) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`${path} is not JSON.`, { cause });
  }
}

async function hashOf(bytes: AsyncIterable<Uint8Array>): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of bytes) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}
