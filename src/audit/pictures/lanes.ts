import type { Tenure } from '../reports/tenure.ts';

/** One environment of one model, with its tenures, oldest first. */
export interface Lane {
  model: string;
  environment: string;
  tenures: Tenure[];
}

/** Groups tenures by model and environment. Models are sorted by name, environments by their first move. */
export function lanesOf(tenures: Tenure[]): Lane[] {
  const lanes = new Map<string, Lane>();
  for (const tenure of tenures) {
    const { model, environment } = tenure;
    const place = `${model} ${environment}`;
    const lane = lanes.get(place) ?? { model, environment, tenures: [] };
    lanes.set(place, lane);
    lane.tenures.push(tenure);
  }
  return [...lanes.values()].sort((a, b) => (a.model < b.model ? -1 : a.model > b.model ? 1 : 0));
}

/** A period, in ms since 1970. */
export interface Span {
  from: number;
  to: number;
}

/** Returns the period of a tenure. One that has not ended ends at `to`. */
export function spanOf({ began, ended }: Tenure, to: number): Span {
  return { from: Date.parse(began.time), to: ended ? Date.parse(ended.time) : to };
}

/** Numbers the versions that were active in any of the lanes, in the order of their first activation. */
export function numberedVersions(lanes: Lane[]): Map<string, number> {
  const moves = lanes.flatMap(({ tenures }) => tenures).sort((a, b) => a.began.revision - b.began.revision);
  const numbers = new Map<string, number>();
  for (const { version } of moves) if (version !== null && !numbers.has(version)) numbers.set(version, numbers.size);
  return numbers;
}
