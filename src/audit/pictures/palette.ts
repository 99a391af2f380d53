/** The colors of a version. */
export interface Paint {
  fill: string;
  /** The color of text on the fill. */
  text: string;
  dotted: boolean;
}

const BLACK = '#111111';
const WHITE = '#ffffff';

/**
 * The colors of Okabe and Ito, "Color Universal Design" (2008), which are distinguishable with any color vision. They are
 * ordered so that neighbors contrast, also the last and the first: consecutive versions get consecutive colors.
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

/** Returns the paint of the version with this number. After the last color the palette repeats, dotted. */
export function paintOf(number: number): Paint {
  const color = PALETTE[number % PALETTE.length]!;
  return { ...color, dotted: Math.floor(number / PALETTE.length) % 2 === 1 };
}
