import { z } from 'zod';

/** The model that the single-model routes mean. */
export const DEFAULT_MODEL = 'default';

// One token of a NATS subject, one path segment and one folder name alike: no dots, no slashes, no upper case.
const NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/;

export const ModelName = z.string().regex(NAME, 'must match [a-z0-9][a-z0-9_-]{0,62}').meta({ example: 'fraud' });
export const EnvironmentName = z
  .string()
  .regex(NAME, 'must match [a-z0-9][a-z0-9_-]{0,62}')
  .meta({ example: 'production' });

export function isModelName(text: string): boolean {
  return NAME.test(text);
}
