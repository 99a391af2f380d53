import { visible } from '../../domain/visible.ts';

/** Escapes text for HTML content and attributes: anyone can write to a log. */
export function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
