import { homedir } from 'node:os';
import { join } from 'node:path';

/** Returns this user's folder for data that programs can fetch again. */
export function userCacheFolder(env: NodeJS.ProcessEnv): string {
  const home = env.HOME || homedir();
  if (process.platform === 'darwin') return join(home, 'Library', 'Caches');
  return env.XDG_CACHE_HOME || join(home, '.cache');
}
