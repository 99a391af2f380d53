/** The oldest supported Node, as under `engines` in package.json. */
export const MINIMUM_NODE = '24.15.0';

/** Returns whether a Node version is too old. Old versions run this, so it uses old syntax only. */
export function isNodeTooOld(version: string): boolean {
  const [major, minor] = version.split('.').map(Number) as [number, number];
  const [neededMajor, neededMinor] = MINIMUM_NODE.split('.').map(Number) as [number, number];
  return major < neededMajor || (major === neededMajor && minor < neededMinor);
}
