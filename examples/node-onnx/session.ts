import { workerData } from 'node:worker_threads';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { answer } from './thread.ts';

// A thread with one ONNX session: `run` blocks its thread while it computes.
const session = await InferenceSession.create(workerData);
const [input, output] = [session.inputNames[0]!, session.outputNames[0]!];

await answer(async (rows: number[][]) => {
  const features = new Tensor('float32', rows.flat(), [rows.length, rows[0]!.length]);
  const { data, dims } = (await session.run({ [input]: features }))[output]!;
  const width = dims[1]!;
  return rows.map((_, i) => (data as Float32Array).slice(i * width, (i + 1) * width));
});
await session.release();
