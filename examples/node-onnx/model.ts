import type { LoadedVersion } from 'signalbox/loader';
import { startThread, type Thread } from './thread.ts';

/** A row of features for each song. */
export type Rows = number[][];
/** The scorer, which is loaded first. Encoder and index are derived when they are first needed. */
export type Session = Thread<Rows, Float32Array[]>;
type Nearest = Thread<{ vector: Float32Array; count: number }, { id: string; distance: number }[]>;

/** The index is built again after this time: useful if the songs do not come from the version itself. */
const INDEX_TTL_MS = Number(process.env.INDEX_TTL_MS ?? 3600_000);

export const openSession = (path: string): Promise<Session> => startThread('./session.ts', path);
const openNearest = (path: string): Promise<Nearest> => startThread('./nearest.ts', path);

export async function score(scorer: Session, rows: Rows): Promise<number[]> {
  return (await scorer.ask(rows)).map(([score]) => score!);
}

/** Encoder and index belong to the loaded version, as the model does: all are replaced together. */
export async function similar({ files, derived }: LoadedVersion<Session>, row: number[], count: number) {
  const encoder = await derived('encoder', () => openSession(files.path('encoder.onnx')), {
    dispose: (encoder) => encoder.close(),
  });
  const index = await derived('index', () => openNearest(files.path('songs.json')), {
    ttl_ms: INDEX_TTL_MS,
    dispose: (index) => index.close(),
  });
  const [vector] = await encoder.ask([row]);
  return index.ask({ vector: vector!, count });
}
