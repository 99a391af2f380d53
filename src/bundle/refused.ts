/** A bundle is damaged, altered, expired, or signed with another key. */
export class BundleRefused extends Error {
  override readonly name = 'BundleRefused';

  constructor(why: string, cause?: unknown) {
    super(`The bundle is refused. ${why}`, cause === undefined ? undefined : { cause });
  }
}
