import { join } from 'node:path';
import type { Digest } from '../../domain/digest.ts';
import type { ReadModel } from '../read-model/read-model.ts';
import { modelsWith } from '../read-model/references.ts';
import { versionFolder } from './layout.ts';
import { versionsBefore } from './versions.ts';

/** A file in the folder of a published version, if it is laid. */
export interface VersionFile {
  model: string;
  version: string;
  folder: string;
  path: string;
  size: number;
}

const PAGE = 200;

/** Yields the files on a volume that are to have these bytes, a page of versions at a time. */
export async function* filesWith(
  digest: Digest,
  volume: string,
  readModel: Pick<ReadModel, 'db' | 'model'>,
): AsyncGenerator<VersionFile> {
  for (const model of modelsWith(readModel.db, digest)) {
    let page = versionsBefore(readModel.db, model, Number.MAX_SAFE_INTEGER, PAGE);
    while (page.length > 0) {
      for (const { version } of page) {
        const folder = versionFolder(volume, model, version);
        const artifacts = readModel.model(model).version(version)?.manifest.artifacts ?? [];
        for (const { path, size } of artifacts.filter((artifact) => artifact.digest === digest)) {
          yield { model, version, folder, path: join(folder, path), size };
        }
      }
      await new Promise(setImmediate); // other work of the event loop
      page = versionsBefore(readModel.db, model, page.at(-1)!.revision, PAGE);
    }
  }
}
