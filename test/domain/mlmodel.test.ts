import { expect, test } from 'vitest';
import { readMlModel } from '../../src/domain/mlmodel.ts';

// In the shape of the samples of mlflow-export-import.
const MLMODEL = `artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.11.7
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.5.1
mlflow_version: 2.13.1
model_id: m-7f3c
model_size_bytes: 1285
model_uuid: 4a2b0a1e0a6f4ab3b2a3a0fbbd4e3f6c
resources: {}
run_id: 0f5c1f5a1a2e4f65a5a4ad8bbd0d8c5f
signature:
  inputs: '[{"type": "double", "name": "alcohol", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]'
  params: null
utc_time_created: '2024-06-05 01:53:53.910623'
`;

test('reads flavor, constraints, lineage and signature from an MLmodel file', () => {
  expect(readMlModel(MLMODEL)).toEqual({
    flavor: 'sklearn',
    requires: { python: '~=3.11.0', packages: { 'scikit-learn': '~=1.5.0' } },
    lineage: {
      run_id: '0f5c1f5a1a2e4f65a5a4ad8bbd0d8c5f',
      model_id: 'm-7f3c',
      model_uuid: '4a2b0a1e0a6f4ab3b2a3a0fbbd4e3f6c',
      mlflow_version: '2.13.1',
      utc_time_created: '2024-06-05 01:53:53.910623',
    },
    signature: {
      inputs: [{ type: 'double', name: 'alcohol', required: true }],
      outputs: [{ type: 'tensor', 'tensor-spec': { dtype: 'float64', shape: [-1] } }],
      params: null,
    },
  });
});

test('reads an older file with env as a string and no signature', () => {
  const text = 'flavors:\n  python_function:\n    env: conda.yaml\n    python_version: 3.8.18\n';
  const facts = { flavor: 'python_function', requires: { python: '~=3.8.0' }, lineage: {}, signature: null };
  expect(readMlModel(text)).toEqual(facts);
});

test('ignores versions that YAML reads as numbers: 3.10 would be 3.1', () => {
  const text = 'flavors:\n  python_function: {python_version: 3.10}\n  sklearn: {sklearn_version: 1.5}\n';
  expect(readMlModel(text)).toMatchObject({ flavor: 'sklearn', requires: {} });
});

test('reads the YAML core schema, whatever version or tag the document declares', () => {
  const text =
    '%YAML 1.1\n---\nflavors: {yes: {}}\nsignature: {day: 2026-01-02, bytes: !!binary aGk=}\nrun_id: 2026-01-02\n';
  const signature = { day: '2026-01-02', bytes: 'aGk=' };
  expect(readMlModel(text)).toMatchObject({ flavor: 'yes', lineage: { run_id: '2026-01-02' }, signature });
});

test('keeps signature fields that are not JSON as text', () => {
  const text = 'flavors: {onnx: {}}\nsignature: {inputs: "[not json"}\n';
  expect(readMlModel(text)).toMatchObject({ flavor: 'onnx', signature: { inputs: '[not json' } });
});

test('leaves out a signature that is nested too deeply or has the key __proto__', () => {
  const nested = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
  expect(readMlModel(`flavors: {onnx: {}}\nsignature: {inputs: '${nested}'}\n`)?.signature).toBeNull();
  expect(readMlModel(`flavors: {onnx: {}}\nsignature: {inputs: '{"__proto__":1}'}\n`)?.signature).toBeNull();
});

test.each([
  '',
  'hello',
  'flavors: [sklearn]',
  'artifact_path: model',
  'flavors: {sklearn: 1.5}',
  '{',
  'a: &a [*a]',
  `a: &a [x,x,x,x,x,x,x,x]\n${'bcdefg'
    .split('')
    .map((name, i) => `${name}: &${name} [${Array(8).fill(`*${'abcdef'[i]}`)}]`)
    .join('\n')}`,
])('returns null if the text is not an MLmodel file: case %#', (text) => expect(readMlModel(text)).toBeNull());
