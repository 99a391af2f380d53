/**
 * Returns the FTS5 query for texts that contain every word; null if there is no word. Words are letters and digits, as
 * FTS5's tokenizer has them; quoted, they have no other meaning in a query.
 */
export function wordsQuery(text: string): string | null {
  const words = text
    .normalize('NFC')
    .split(/[^\p{L}\p{N}\p{Co}]+/u)
    .filter((word) => word !== '');
  return words.length === 0 ? null : words.map((word) => `"${word}"`).join(' ');
}
