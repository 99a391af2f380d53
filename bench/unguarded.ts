/** The registry with `GET active` without authentication: run as `node bench/unguarded.ts serve`. */
const dist = new URL('../dist/', import.meta.url).href;
const { versionRoutes } = await import(`${dist}http/versions.js`);
const active = versionRoutes.find(({ path }: { path: string }) => path.endsWith('/versions/active'));
active.permission = null;
await import(`${dist}cli/main.js`);

export {};
