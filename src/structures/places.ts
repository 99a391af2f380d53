/** Bounds how much is in progress at a time. */
export interface Places {
  /** Waits for a place. Places are given in the order in which they are requested. */
  take(): Promise<void>;
  /** Gives a place back. */
  release(): void;
}

/** @example const places = openPlaces(4); await places.take(); await work().finally(places.release); */
export function openPlaces(max: number): Places {
  const waiting: (() => void)[] = [];
  let taken = 0;
  return {
    async take() {
      if (taken < max) taken++;
      else await new Promise<void>((resume) => waiting.push(resume));
    },
    release() {
      const next = waiting.shift();
      if (next) next();
      else taken--;
    },
  };
}
