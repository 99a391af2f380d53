import { visible } from '../../domain/visible.ts';

/** Text as HTML and as an attribute: what is in a log was written by others. */
export function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
