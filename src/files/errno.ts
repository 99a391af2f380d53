/** Returns whether an error of the operating system has one of these codes. */
export function isErrno(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? '');
}

/**
 * A handler for `catch` that returns `value` if the file or a folder above it does not exist, and rethrows other errors.
 *
 * @example const text = await readFile(path, 'utf8').catch(ifMissing(null));
 */
export function ifMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return value;
    throw error;
  };
}
