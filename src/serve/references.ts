import { join } from 'node:path';
import type { Digest } from '../domain/digest.ts';
import type { EventData } from '../domain/events.ts';
import { isModelName } from '../domain/names.ts';
import { isReferred } from '../domain/reference.ts';
import { isVersion } from '../domain/versions.ts';
import { decodeEvent, Undecodable } from '../log/codec.ts';
import { versionFolder } from '../projections/volume/layout.ts';
import type { VersionFile } from '../projections/volume/version-files.ts';
import type { LogSource, RawMessage } from '../proof/source.ts';

/** What published versions refer to. */
export interface LogReferences {
  digests: Set<Digest>;
  /** The number of events that this version of Signalbox cannot read. What they refer to is not known. */
  unread: number;
}

/** A file that a version has, whether or not its folder is laid. */
export interface PublishedFile extends VersionFile {
  /** Its path in the manifest. */
  name: string;
  published_at: Date;
}

export async function referencesIn(source: LogSource): Promise<LogReferences> {
  const references: LogReferences = { digests: new Set(), unread: 0 };
  for await (const batch of source.batches()) {
    for (const message of batch) {
      const published = publishedBy(message);
      if (published === 'unread') references.unread++;
      else for (const digest of storedBy(published)) references.digests.add(digest);
    }
  }
  return references;
}

/** Returns what a version needs of the store: not what it refers to elsewhere. */
function storedBy(published: Published | null): Digest[] {
  const artifacts = published?.data.manifest.artifacts ?? [];
  return artifacts.filter((artifact) => !isReferred(artifact)).map(({ digest }) => digest);
}

/** Returns the files of versions that are to have the bytes of these digests. */
export async function filesIn(
  source: LogSource,
  digests: ReadonlySet<Digest>,
  volume: string,
): Promise<Map<Digest, PublishedFile[]>> {
  const files = new Map<Digest, PublishedFile[]>();
  for await (const batch of source.batches()) {
    for (const published of batch.map(publishedBy)) {
      if (published === null || published === 'unread') continue;
      const { model, time, data } = published;
      const folder = versionFolder(volume, model, data.version);
      for (const { digest, path, size } of data.manifest.artifacts) {
        if (!digests.has(digest)) continue;
        const { version } = data;
        const file = { model, version, name: path, folder, path: join(folder, path), size, published_at: time };
        files.set(digest, [...(files.get(digest) ?? []), file]);
      }
    }
  }
  return files;
}

interface Published {
  model: string;
  time: Date;
  data: EventData<'version.published'>;
}

/** Returns what a message published; null if nothing. Names that could lead out of the volume are not a version's. */
function publishedBy({ body }: RawMessage): Published | 'unread' | null {
  try {
    const { event } = decodeEvent(body);
    if (event?.type !== 'version.published') return null;
    const { model, time, data } = event;
    return isModelName(model) && isVersion(data.version) ? { model, time: new Date(time), data } : 'unread';
  } catch (error) {
    if (error instanceof Undecodable) return 'unread';
    throw error;
  }
}
