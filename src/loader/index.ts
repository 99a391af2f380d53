/** `signalbox/loader`: what inference services import. */
export type { Bundle, DeriveOptions, Lease, VersionInfo } from './bundle.ts';
export { NotReady } from './failure.ts';
export type { Files } from './files.ts';
export { type Loader, type LoaderOptions, startLoader } from './loader.ts';
export type { LoaderLog } from './log.ts';
export { UnsafeCacheFolder } from './private-folder.ts';
export type { RuntimeFacts } from './runtime.ts';
