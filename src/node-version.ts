/** The oldest Node with everything that Signalbox uses; package.json says the same under `engines`. */
export const MINIMUM_NODE = '22.18.0';

/** Whether a Node of this version is too old. In syntax that old ones read: they run this. */
export function isNodeTooOld(version: string): boolean {
  const [major, minor] = version.split('.').map(Number) as [number, number];
  const [neededMajor, neededMinor] = MINIMUM_NODE.split('.').map(Number) as [number, number];
  return major < neededMajor || (major === neededMajor && minor < neededMinor);
}
