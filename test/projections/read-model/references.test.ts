import { expect, test } from 'vitest';
import { publish } from '../../../src/commands/publish.ts';
import { isReferenced, referencesTo } from '../../../src/projections/read-model/references.ts';
import { file } from '../../commands/support.ts';
import { createLogbook } from '../../support/logbook.ts';

test('the sources of bytes are known with the ETag that was found last, in every model', () => {
  const { readModel, give } = createLogbook(['production']);
  const source = 's3://datasets/fraud.onnx';
  const { path: _, ...bytes } = file('fraud.onnx');
  const artifacts = [{ ...file('fraud.onnx'), source }, file()];
  let at = 0;
  const published = (model: string, version: string, etag: string) => {
    const given = { at: new Date(++at).toISOString(), context: { verified: [{ ...bytes, source, etag }] } };
    give(publish, model, { version, artifacts }, given);
  };
  published('fraud', '1.0.0', '"one"');
  expect(referencesTo(readModel.db, bytes.digest)).toEqual([{ ...bytes, source, etag: '"one"' }]);
  published('churn', '1.0.0', '"two"');
  expect(referencesTo(readModel.db, bytes.digest)).toEqual([{ ...bytes, source, etag: '"two"' }]);
  expect(referencesTo(readModel.db, file().digest)).toEqual([]);
  expect(isReferenced(readModel.db, bytes.digest)).toBe(true);
});
