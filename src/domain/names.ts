import { z } from 'zod';

/** The model of the single-model routes. */
export const DEFAULT_MODEL = 'default';

// Valid as a token of a NATS subject, a path segment and a folder name: no dots, slashes or upper-case letters.
const NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/;

export const ModelName = z.string().regex(NAME, 'must match [a-z0-9][a-z0-9_-]{0,62}').meta({ example: 'fraud' });
export const EnvironmentName = z
  .string()
  .regex(NAME, 'must match [a-z0-9][a-z0-9_-]{0,62}')
  .meta({ example: 'production' });

export function isModelName(text: string): boolean {
  return NAME.test(text);
}
