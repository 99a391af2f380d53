import { z } from 'zod';

/** The answer of `…/compare`: every field of the versions, or those that differ. */
export const ComparisonView = z
  .object({
    model: z.string(),
    versions: z.array(z.string()).meta({ description: 'In the order of the request' }),
    same_content: z.boolean().meta({ description: 'All have the same manifest_digest' }),
    complete: z.boolean().meta({ description: 'False if fields were left out, because the answer has at most 4 MiB' }),
    fields: z.array(
      z.object({
        field: z.string().meta({ example: 'metrics.auc' }),
        differs: z.boolean(),
        values: z
          .record(z.string(), z.json())
          .meta({ description: 'By version; without the versions that do not have the field' }),
        difference: z
          .record(z.string(), z.number())
          .optional()
          .meta({ description: 'Of a metric: the values of the other versions minus that of the first' }),
        change: z
          .record(z.string(), z.enum(['added', 'removed', 'changed']))
          .optional()
          .meta({ description: 'Of a file that differs: what became of it since the first version' }),
      }),
    ),
  })
  .meta({ id: 'Comparison' });
export type ComparisonView = z.infer<typeof ComparisonView>;
