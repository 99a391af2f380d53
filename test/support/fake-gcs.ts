import { join } from 'node:path';
import { cachedFolder, install } from './cached.ts';
import { freePort } from './nats.ts';
import { startServerProcess } from './server-process.ts';

const VERSION = '1.56.0';
const PROGRAM = 'fake-gcs-server';
const BUCKET = 'models';

/** A fake-gcs-server, an emulator of Google Cloud Storage without authentication, with one bucket. */
export interface FakeGcs {
  endpoint: string;
  bucket: string;
  stop(): Promise<void>;
}

/** Starts a server for the tests of a file; each test takes a prefix of its own. It keeps uploads in memory. */
export async function startFakeGcs(): Promise<FakeGcs> {
  const program = join(await cachedFolder(`${PROGRAM}-v${VERSION}`, installIn), PROGRAM);
  const port = await freePort();
  const argumentsIn = (folder: string) => [
    '-scheme=http',
    '-host=127.0.0.1',
    `-port=${port}`,
    // For signed addresses, which have no path of the API.
    `-public-host=127.0.0.1:${port}`,
    `-filesystem-root=${folder}`,
  ];
  const endpoint = `http://127.0.0.1:${port}`;
  const createBucket = async () => {
    const body = JSON.stringify({ name: BUCKET });
    const answer = await fetch(`${endpoint}/storage/v1/b?project=tests`, { method: 'POST', body });
    if (!answer.ok) throw new Error(await answer.text());
  };
  const stop = await startServerProcess(program, argumentsIn, {}, createBucket);
  return { endpoint, bucket: BUCKET, stop };
}

/** Builds it with Go, which takes a minute: its project publishes no package of the program. */
async function installIn(folder: string): Promise<void> {
  const env = { ...process.env, GOBIN: folder, GOOS: '', GOARCH: '', GOFLAGS: '', CGO_ENABLED: '0' };
  await install('go', ['install', `github.com/fsouza/fake-gcs-server@v${VERSION}`], { cwd: folder, env });
}
