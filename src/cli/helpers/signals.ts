/** Resolves on SIGINT or SIGTERM. */
export function untilStopped(): Promise<void> {
  const stopped = Promise.withResolvers<void>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.resolve());
  return stopped.promise;
}
