/** Exits on SIGINT or SIGTERM: without a handler, the exit handler that stops an embedded nats-server would not run. */
export function exitOnSignal(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
}

/** Resolves on SIGINT or SIGTERM. */
export function untilStopped(): Promise<void> {
  const stopped = Promise.withResolvers<void>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.resolve());
  return stopped.promise;
}

/** Returns a signal that is aborted on SIGINT or SIGTERM. The second one ends the process. */
export function stopOnSignal(): AbortSignal {
  const stopped = new AbortController();
  const stop = () => stopped.abort(new Error('Stopped. Run the same command again to continue.'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
  return stopped.signal;
}
