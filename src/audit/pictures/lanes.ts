import type { Tenure } from '../reports/tenure.ts';

/** One environment of one model: its tenures, oldest first. */
export interface Lane {
  model: string;
  environment: string;
  tenures: Tenure[];
}

/** Tenures by model and environment: models by name, environments in the order in which they were first moved. */
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

/** From when to when, in milliseconds. */
export interface Span {
  from: number;
  to: number;
}

/** When a tenure was, with `to` as the end of one that has not ended. */
export function spanOf({ began, ended }: Tenure, to: number): Span {
  return { from: Date.parse(began.time), to: ended ? Date.parse(ended.time) : to };
}

/** Each version that was ever active in some lanes, numbered in the order in which that happened. */
export function numberedVersions(lanes: Lane[]): Map<string, number> {
  const moves = lanes.flatMap(({ tenures }) => tenures).sort((a, b) => a.began.revision - b.began.revision);
  const numbers = new Map<string, number>();
  for (const { version } of moves) if (version !== null && !numbers.has(version)) numbers.set(version, numbers.size);
  return numbers;
}
