/** How a version is drawn. */
export interface Paint {
  fill: string;
  /** What can be read on it. */
  text: string;
  dotted: boolean;
}

const BLACK = '#111111';
const WHITE = '#ffffff';

/**
 * The colors of Okabe and Ito, "Color Universal Design" (2008), which people with any color vision tell apart. Their order
 * keeps neighbors far apart, the last and the first too: versions follow each other by their numbers.
 */
export const PALETTE: readonly Omit<Paint, 'dotted'>[] = [
  { fill: '#0072b2', text: WHITE }, // blue
  { fill: '#e69f00', text: BLACK }, // orange
  { fill: '#cc79a7', text: BLACK }, // purple
  { fill: '#d55e00', text: BLACK }, // vermillion
  { fill: '#56b4e9', text: BLACK }, // sky blue
  { fill: '#f0e442', text: BLACK }, // yellow
  { fill: '#009e73', text: BLACK }, // green
];

/** After the last color they come again, dotted. */
export function paintOf(number: number): Paint {
  const color = PALETTE[number % PALETTE.length]!;
  return { ...color, dotted: Math.floor(number / PALETTE.length) % 2 === 1 };
}
