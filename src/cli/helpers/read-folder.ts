import { stat } from 'node:fs/promises';
import type { Manifest } from '../../domain/manifest.ts';
import { describeFolder } from '../../files/describe.ts';
import { isErrno } from '../../files/errno.ts';
import { clean, notify } from './output.ts';

/** Describes a folder to publish. Warns if its model states no runtime. @throws as `describeFolder` */
export async function readFolder(folder: string): Promise<Manifest> {
  await checkFolder(folder);
  const manifest = await describeFolder(folder);
  warnOfUnstatedRuntime(manifest);
  return manifest;
}

export function warnOfUnstatedRuntime(manifest: Manifest): void {
  const warning = unstatedRuntime(manifest);
  if (warning) notify(clean(warning));
}

async function checkFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch((cause: unknown) => {
    if (isErrno(cause, 'ENOENT', 'ENOTDIR')) throw new Error(`There is no folder ${folder}.`, { cause });
    throw cause;
  });
  if (!found.isDirectory()) throw new Error(`${folder} is not a folder. Put it into a folder, and publish that.`);
}

const EXAMPLE = '{"requires": {"python": "~=3.11.0", "packages": {"scikit-learn": "~=1.5.0"}}}';

/** A pickle from one release of Python or scikit-learn may fail in another, or silently return other predictions. */
function unstatedRuntime({ artifacts, requires }: Manifest): string | null {
  const pickled = artifacts.find(({ path }) => /\.(joblib|pkl|pickle|skops)$/.test(path));
  if (!pickled || Object.keys(requires).length > 0) return null;
  return (
    `Warning: no file states which Python and packages ${pickled.path} needs, so neither activations nor loaders can ` +
    `check them. Add a metadata.json beside it, such as ${EXAMPLE}, or pin packages in a requirements.txt.`
  );
}
