import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import proto from 'onnx-proto';

const { onnx } = proto;
const FEATURES = 6;
const DIMENSIONS = 8;

/** One layer: `activation(row · weights + bias)`. */
interface Layer {
  weights: number[][];
  bias: number[];
  activation: 'Tanh' | 'Sigmoid';
}

const songs = makeSongs(random(1), 200);
await makeVersion('1.0.0', 20);
await makeVersion('1.1.0', 21);

/** In place of training: the seed determines the version's answers. */
async function makeVersion(version: string, seed: number) {
  const draw = random(seed);
  const scorer = makeLayer(draw, 1, 'Sigmoid');
  const encoder = makeLayer(draw, DIMENSIONS, 'Tanh');
  const folder = join(import.meta.dirname, 'versions', version);
  await mkdir(folder, { recursive: true });
  const write = (name: string, content: Uint8Array | object) =>
    writeFile(join(folder, name), content instanceof Uint8Array ? content : `${JSON.stringify(content, null, 2)}\n`);

  await write('model.onnx', onnxModel(scorer));
  await write('encoder.onnx', onnxModel(encoder));
  await write(
    'songs.json',
    songs.map((song) => ({ ...song, vector: apply(encoder, song.features) })),
  );
  // Computed here and not by the runtime, so that the golden requests check the runtime.
  const rows = songs.slice(0, 5).map(({ features }) => features);
  const requests = [{ input: rows, output: rows.map((row) => apply(scorer, row)[0]) }];
  await write('golden.json', { tolerance: 1e-5, requests });
  await write('metadata.json', {
    name: 'songs',
    version,
    flavor: 'onnx',
    requires: { node: '>=22.18', npm: { 'onnxruntime-node': '^1.30.0', usearch: '^2.26.2' } },
    params: { seed },
    signature: {
      inputs: [{ name: 'features', dtype: 'float32', shape: [-1, FEATURES] }],
      outputs: [{ name: 'output', dtype: 'float32', shape: [-1, 1] }],
    },
  });
  console.log(`versions/${version}`);
}

/** A small model of the form that PyTorch and others export. */
function onnxModel({ weights, bias, activation }: Layer): Uint8Array {
  const graph = {
    name: 'layer',
    node: [
      { opType: 'Gemm', input: ['features', 'weights', 'bias'], output: ['sums'] },
      { opType: activation, input: ['sums'], output: ['output'] },
    ],
    initializer: [tensor('weights', [FEATURES, bias.length], weights.flat()), tensor('bias', [bias.length], bias)],
    input: [rowsOf('features', FEATURES)],
    output: [rowsOf('output', bias.length)],
  };
  const opsetImport = [{ domain: '', version: 17 }];
  return onnx.ModelProto.encode({ irVersion: 8, opsetImport, producerName: 'make-models', graph }).finish();
}

function tensor(name: string, dims: number[], floatData: number[]) {
  return { name, dims, floatData, dataType: onnx.TensorProto.DataType.FLOAT };
}

/** Any number of rows of this width. */
function rowsOf(name: string, width: number) {
  const shape = { dim: [{ dimParam: 'rows' }, { dimValue: width }] };
  return { name, type: { tensorType: { elemType: onnx.TensorProto.DataType.FLOAT, shape } } };
}

function apply({ weights, bias, activation }: Layer, row: number[]): number[] {
  const squash = activation === 'Tanh' ? Math.tanh : (sum: number) => 1 / (1 + Math.exp(-sum));
  return bias.map((b, j) => squash(row.reduce((sum, x, i) => sum + x * weights[i]![j]!, b)));
}

function makeLayer(draw: () => number, width: number, activation: Layer['activation']): Layer {
  const numbers = (length: number) => Array.from({ length }, () => 4 * draw() - 2);
  return { weights: Array.from({ length: FEATURES }, () => numbers(width)), bias: numbers(width), activation };
}

function makeSongs(draw: () => number, length: number) {
  const features = () => Array.from({ length: FEATURES }, () => Math.round(draw() * 1000) / 1000);
  return Array.from({ length }, (_, i) => ({ id: `song-${i + 1}`, features: features() }));
}

/** Returns a generator of numbers in [0, 1), determined by the seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
