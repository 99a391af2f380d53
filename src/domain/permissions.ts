import { z } from 'zod';
import { EnvironmentName } from './names.ts';

/** What a route can require; each route requires one of these, any valid credential, or nothing. */
export const PERMISSIONS = ['read', 'publish', 'activate', 'force', 'operate', 'report', 'gateway', 'keys'] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** The pattern of all models that exist or will exist. No model has this name. */
export const EVERY_MODEL = '*';

const Pattern = z.string().regex(/^[a-z0-9_*-]{1,64}$/, 'must be a model’s name, in which * stands for anything');
const Permissions = z.array(z.enum(PERMISSIONS)).min(1).max(100);

export const reachShape = {
  allow: z.union([z.literal('all').transform(() => [...PERMISSIONS]), Permissions]),
  models: z.array(Pattern).min(1).max(100).default([EVERY_MODEL]),
  environments: z.array(EnvironmentName).min(1).max(100).optional(),
};

/** Permissions, limited to models and to environments; without `environments`, valid in each of them. */
export const Reach = z.strictObject(reachShape);
export type Reach = z.output<typeof Reach>;
