/** The registry with `GET active` without authentication: run as `node bench/unguarded.ts serve`. */
const dist = new URL('../dist/', import.meta.url).href;
const { activeRoutes } = await import(`${dist}http/api/active.js`);
activeRoutes[0].permission = null;
await import(`${dist}cli/main.js`);

export {};
