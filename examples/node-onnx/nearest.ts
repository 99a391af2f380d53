import { readFile } from 'node:fs/promises';
import { workerData } from 'node:worker_threads';
import { Index, MetricKind } from 'usearch';
import { answer } from './thread.ts';

// A thread with one HNSW index: building it takes long for many vectors.
const songs: { id: string; vector: number[] }[] = JSON.parse(await readFile(workerData, 'utf8'));
const index = new Index(songs[0]!.vector.length, MetricKind.Cos);
index.add(
  BigUint64Array.from(songs, (_, i) => BigInt(i)),
  Float32Array.from(songs.flatMap(({ vector }) => vector)),
);

await answer(({ vector, count }: { vector: Float32Array; count: number }) => {
  const { keys, distances } = index.search(vector, count, 1);
  return Array.from(keys, (key, i) => ({ id: songs[Number(key)]!.id, distance: distances[i]! }));
});
