/**
 * Maps items, several at once. Returns the results in the order of the items. After a failure, it begins no other and waits
 * for those that were begun before it throws.
 */
export async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  action: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const rest = items.entries(); // shared by the workers
  let failed = false;
  const worker = async () => {
    for (const [i, item] of rest) {
      if (failed) return;
      try {
        results[i] = await action(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, worker);
  await Promise.allSettled(workers);
  await Promise.all(workers);
  return results;
}
