/** Where in which log something was said. */
export interface Position {
  generation: number;
  /** One log's own; null while it is empty. */
  epoch: string | null;
  revision: number;
  /** What to show on coming back, opaque here. */
  id: string;
}

/**
 * What to do with a message, given the last one that was taken. A follower goes backwards, or to another log, only with a
 * higher generation: otherwise what was acknowledged is gone, which nobody said. `reset` is the registry's word that its
 * log does not hold the position that it was shown.
 */
export function judge(held: Position | null, said: Omit<Position, 'id'>, reset: boolean): 'take' | 'pass' | 'diverged' {
  if (held === null || said.generation > held.generation) return 'take';
  const otherLog = held.epoch !== null && said.epoch !== held.epoch;
  if (reset || said.generation < held.generation || otherLog) return 'diverged';
  return said.revision < held.revision ? 'pass' : 'take';
}
