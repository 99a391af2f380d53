import { stat } from 'node:fs/promises';
import type { Manifest } from '../../domain/manifest.ts';
import { describeFolder } from '../../files/describe.ts';
import { isErrno } from '../../files/errno.ts';
import { clean, tell } from './output.ts';

/** A folder to publish as a manifest. Warns where nothing says what can load the model in it. @throws as `describeFolder` */
export async function readFolder(folder: string): Promise<Manifest> {
  await checkFolder(folder);
  const manifest = await describeFolder(folder);
  const warning = unstatedRuntime(manifest);
  if (warning) tell(clean(warning));
  return manifest;
}

async function checkFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch((cause: unknown) => {
    if (isErrno(cause, 'ENOENT', 'ENOTDIR')) throw new Error(`There is no folder ${folder}.`, { cause });
    throw cause;
  });
  if (!found.isDirectory()) throw new Error(`${folder} is not a folder: put it in one, and publish that.`);
}

const EXAMPLE = '{"requires": {"python": "~=3.11.0", "packages": {"scikit-learn": "~=1.5.0"}}}';

/** A pickle of one release of Python or scikit-learn may fail in another, or answer otherwise without a word. */
function unstatedRuntime({ artifacts, requires }: Manifest): string | null {
  const pickled = artifacts.find(({ path }) => /\.(joblib|pkl|pickle|skops)$/.test(path));
  if (!pickled || Object.keys(requires).length > 0) return null;
  return (
    `Warning: nothing says which Python and which packages can load ${pickled.path}, so neither activations nor loaders ` +
    `can check it. Say it in a metadata.json beside it, such as ${EXAMPLE}, or pin packages in a requirements.txt.`
  );
}
