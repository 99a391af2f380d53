/** `signalbox/loader`: what inference services import. */
export { NotReady } from './failure.ts';
export type { Files } from './files.ts';
export type { Bundle, DeriveOptions, Lease, LoadedVersion, VersionInfo } from './loaded-version.ts';
export { type Loader, type LoaderOptions, startLoader } from './loader.ts';
export type { LoaderLog } from './log.ts';
export { UnsafeCacheFolder } from './private-folder.ts';
export type { RuntimeFacts } from './runtime.ts';
