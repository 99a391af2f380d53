import { z } from 'zod';
import { EnvironmentName } from './names.ts';

/** A route needs one of these, any valid credential, or nothing. */
export const PERMISSIONS = ['read', 'publish', 'activate', 'force', 'operate', 'report', 'gateway', 'keys'] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** As a request's model: all present and future models. It is not a valid model name. */
export const EVERY_MODEL = '*';

const Pattern = z.string().regex(/^[a-z0-9_*-]{1,64}$/, 'must be a model name, in which * matches any text');
const Permissions = z.array(z.enum(PERMISSIONS)).min(1).max(100);

export const reachShape = {
  allow: z.union([z.literal('all').transform(() => [...PERMISSIONS]), Permissions]),
  models: z.array(Pattern).min(1).max(100).default([EVERY_MODEL]),
  environments: z.array(EnvironmentName).min(1).max(100).optional(),
};

/** The permissions of a key or a grant, and the models and environments they apply to; default: all. */
export const Reach = z.strictObject(reachShape);
export type Reach = z.output<typeof Reach>;
