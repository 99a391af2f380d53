import { Readable } from 'node:stream';
import { openBucket } from '../../artifacts/open.ts';
import { openObject } from '../../artifacts/references/object.ts';
import { parseReferencePrefix, type ReferencePrefix } from '../../artifacts/references/prefix.ts';
import { openSources, type Sources } from '../../artifacts/references/sources.ts';
import { isArtifactPath, MAX_ARTIFACTS, type Manifest } from '../../domain/manifest.ts';
import { isSource } from '../../domain/source.ts';
import { describeFiles } from '../../files/describe.ts';
import { WrongUsage } from './failure.ts';
import { warnOfUnstatedRuntime } from './read-folder.ts';

const MEANS = { nats: null, connectTo: () => Promise.reject(new Error('a source is not in NATS')) };

interface Found {
  prefix: ReferencePrefix;
  files: { path: string; size: number }[];
}

/**
 * Describes the objects below a prefix, or one object, with the credentials of this machine: reads them all, and stores
 * nothing. Every artifact of the manifest has its source.
 *
 * @param address such as `s3://datasets/fraud/?endpoint=http://127.0.0.1:8333`
 */
export async function readReference(address: string): Promise<Manifest> {
  const parse = (text: string) => {
    try {
      return parseReferencePrefix(text);
    } catch (cause) {
      throw new WrongUsage(`--reference ${(cause as Error).message}.`, { cause });
    }
  };
  const below = await objectsBelow(parse(address));
  const [parent, name] = parentOf(address);
  const found = below.files.length > 0 ? below : await oneObject(parse(parent), name);
  const { prefix, files } = found;
  const sourceOf = (path: string) => prefix.text + path;
  const unusable = files.find(({ path }) => !isArtifactPath(path) || !isSource(sourceOf(path)));
  if (unusable) throw new Error(`${sourceOf(unusable.path)} cannot be published under this name.`);
  return withSources(prefix, async (sources, signal) => {
    const open = async (path: string) => {
      const size = files.find((file) => file.path === path)!.size;
      return (await openObject(sources, { source: sourceOf(path), size }, null, signal)).bytes;
    };
    const manifest = await describeFiles({ name: address, files, open });
    warnOfUnstatedRuntime(manifest);
    return { ...manifest, artifacts: manifest.artifacts.map((one) => ({ ...one, source: sourceOf(one.path) })) };
  });
}

/** Lists a bucket, without hidden objects and those that stand for folders. An `https:` server has no list. */
async function objectsBelow(prefix: ReferencePrefix): Promise<Found> {
  if (!prefix.bucket) return { prefix, files: [] };
  const bucket = await openBucket(prefix.bucket, MEANS);
  try {
    const files: Found['files'] = [];
    for await (const { key, size } of bucket.list('', new AbortController().signal)) {
      if (!key.endsWith('/') && !/(^|\/)\./.test(key)) files.push({ path: key, size });
      if (files.length > MAX_ARTIFACTS) throw new Error(`${prefix.text} has more than ${MAX_ARTIFACTS} objects.`);
    }
    return { prefix, files: files.toSorted((a, b) => (a.path < b.path ? -1 : 1)) };
  } finally {
    await bucket.close?.();
  }
}

function oneObject(prefix: ReferencePrefix, name: string): Promise<Found> {
  return withSources(prefix, async (sources, signal) => {
    const { reader, key } = await sources.find(prefix.text + name);
    const object = name === '' ? null : await reader.read(key, null, signal);
    if (!object) throw new Error(`There is nothing at ${prefix.text}${name}.`);
    if (object.bytes instanceof Readable) object.bytes.destroy();
    return { prefix, files: [{ path: name, size: object.length }] };
  });
}

async function withSources<T>(prefix: ReferencePrefix, use: (sources: Sources, signal: AbortSignal) => Promise<T>) {
  const sources = openSources([prefix], (bucket) => openBucket(bucket, MEANS));
  const ended = new AbortController();
  try {
    return await use(sources, ended.signal);
  } finally {
    ended.abort();
    await sources.close();
  }
}

/** Splits an address into that of its folder, with the parameters, and the last name. */
function parentOf(address: string): [parent: string, name: string] {
  const [, parent = '', name = '', parameters = ''] = /^([^?]*\/)([^/?]*)(\?.*)?$/s.exec(address) ?? [];
  return [parent + parameters, name];
}
