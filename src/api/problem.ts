import { z } from 'zod';
import { type ProblemCode, problemTable } from '../domain/errors.ts';

export const ProblemDocument = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().meta({ type: 'integer' }),
    code: z.enum(problemTable.map(({ code }) => code) as [ProblemCode]),
    detail: z.string(),
    request_id: z.string(),
  })
  .meta({ description: 'RFC 9457 problem details; further members depend on the code' });
export type ProblemDocument = z.infer<typeof ProblemDocument> & Record<string, unknown>;
