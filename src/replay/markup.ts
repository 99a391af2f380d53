import { visible } from '../domain/visible.ts';

/** Text as HTML and as an attribute: what is in a log was written by others. */
export function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A hue of its own for each version: the golden angle keeps neighbours apart. */
export function hueOf(number: number): number {
  return Math.round(210 + number * 137.508) % 360;
}
