import { z } from 'zod';
import { PERMISSIONS } from '../domain/permissions.ts';

/** The caller, and each permission that it has for some model and environment. */
export const IdentityView = z.object({ actor: z.string(), permissions: z.array(z.enum(PERMISSIONS)) });
export type IdentityView = z.infer<typeof IdentityView>;
