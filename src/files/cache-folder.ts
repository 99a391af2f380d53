import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where programs of this user keep what can be had again. */
export function userCacheFolder(env: NodeJS.ProcessEnv): string {
  const home = env.HOME || homedir();
  if (process.platform === 'darwin') return join(home, 'Library', 'Caches');
  return env.XDG_CACHE_HOME || join(home, '.cache');
}
