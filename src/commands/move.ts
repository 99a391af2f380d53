import { z } from 'zod';
import { EnvironmentName } from '../domain/names.ts';
import { Version } from '../domain/versions.ts';

/** The fields that activation and rollback share. */
export const Environment = EnvironmentName.default('production');
export const ExpectedActive = Version.nullable().meta({
  description: 'The version expected to be active; null for none',
});
export const DryRun = z.boolean().default(false);
