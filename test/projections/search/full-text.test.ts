import { expect, test } from 'vitest';
import { wordsQuery } from '../../../src/projections/search/full-text.ts';
import { newReadModel } from '../../support/read-model.ts';

test('no character makes a query that an index refuses, not even one that its tokenizer takes for no letter', () => {
  const { db } = newReadModel();
  const find = db.query('SELECT rowid FROM reason_text WHERE reason_text MATCH ?');
  const refused: string[] = [];
  for (let code = 1; code <= 0x10ffff; code++) {
    try {
      find.all(wordsQuery(`a${String.fromCodePoint(code)}b`)!);
    } catch {
      refused.push(code.toString(16));
    }
  }
  expect(refused).toEqual([]);
});
