import { describe, expect, it } from 'vitest';
import { PALETTE, paintOf } from '../../../src/audit/pictures/palette.ts';

type Triple = [number, number, number];
type Matrix = [Triple, Triple, Triple];

/** Linear RGB as seen with a color vision deficiency: Machado, Oliveira and Fernandes 2009, at full severity. */
const VISION: Record<string, Matrix> = {
  'with all cones': [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  'without red cones': [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  'without green cones': [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
};

const XYZ: Matrix = [
  [0.4124 / 0.95047, 0.3576 / 0.95047, 0.1805 / 0.95047],
  [0.2126, 0.7152, 0.0722],
  [0.0193 / 1.08883, 0.1192 / 1.08883, 0.9505 / 1.08883],
];

const times = (matrix: Matrix, [r, g, b]: Triple) =>
  matrix.map(([x, y, z]) => Math.min(Math.max(x * r + y * g + z * b, 0), 1)) as Triple;

function linear(color: string): Triple {
  return [1, 3, 5].map((at) => {
    const part = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as Triple;
}

function lab(color: string, vision: Matrix): Triple {
  const seen = times(XYZ, times(vision, linear(color)));
  const [x, y, z] = seen.map((t) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116)) as Triple;
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** CIE76 color difference: 2.3 is just noticeable. */
function distance(one: string, other: string, vision: Matrix): number {
  const [a, b] = [lab(one, vision), lab(other, vision)];
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

/** WCAG 2 contrast ratio. */
function contrast(one: string, other: string): number {
  const [low, high] = [one, other].map((color) => times(XYZ, linear(color))[1] + 0.05).sort((a, b) => a - b);
  return high! / low!;
}

describe.each(Object.entries(VISION))('seen %s', (_, vision) => {
  it('consecutive versions have clearly different colors', () => {
    for (let number = 0; number < 50; number++) {
      const [one, next] = [paintOf(number), paintOf(number + 1)];
      expect(distance(one.fill, next.fill, vision), `${one.fill} ${next.fill}`).toBeGreaterThan(50);
    }
  });

  it('any two colors are distinguishable', () => {
    for (const [i, one] of PALETTE.entries()) {
      for (const other of PALETTE.slice(i + 1)) {
        expect(distance(one.fill, other.fill, vision), `${one.fill} ${other.fill}`).toBeGreaterThan(15);
      }
    }
  });
});

it('has different paints for twice as many versions as there are colors', () => {
  const paints = Array.from({ length: 2 * PALETTE.length }, (_, number) => JSON.stringify(paintOf(number)));
  expect(new Set(paints).size).toBe(paints.length);
});

it('has a readable text color for each fill', () => {
  for (const { fill, text } of PALETTE) expect(contrast(fill, text), fill).toBeGreaterThan(4.5);
});
