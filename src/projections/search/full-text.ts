import { wordsOf } from '../../search/words.ts';

/** Returns the FTS5 query for texts that have every word of one, in any order; null if there is no word in it. */
export function wordsQuery(text: string): string | null {
  const words = wordsOf(text);
  // Quoted, a word such as NOT is not an operator.
  return words.length === 0 ? null : words.map((word) => `"${word}"`).join(' ');
}
