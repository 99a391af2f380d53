/** Returns the FTS5 query for texts that contain every word. Quoted, no character of a word has a meaning of its own. */
export function phraseOf(words: string): string {
  return words
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => `"${word.replaceAll('"', '""')}"`)
    .join(' ');
}
