import { parse } from 'yaml';
import { z } from 'zod';
import { Json } from './json.ts';
import { constraintFrom, type Requires } from './requires.ts';

const Flavors = z.record(z.string(), z.record(z.string(), z.unknown()));
// Unknown keys are allowed: every release of MLflow adds some.
const MlModel = z.looseObject({ flavors: Flavors, signature: z.record(z.string(), z.unknown()).nullish() });

export interface MlModelFacts {
  flavor: string;
  requires: Requires;
  lineage: Record<string, string>;
  signature: z.infer<ReturnType<typeof z.json>>;
}

/**
 * Reads MLflow's `MLmodel` file, as described in its documentation and in the samples of mlflow-export-import. Returns null
 * if the text is not such a file.
 */
export function readMlModel(text: string): MlModelFacts | null {
  const model = MlModel.safeParse(yaml(text)).data;
  if (!model) return null;
  const { python_function, ...own } = model.flavors;
  const flavor = Object.keys(own)[0] ?? 'python_function';
  const python = constraint(python_function?.python_version);
  const sklearn = constraint(own.sklearn?.sklearn_version);
  const requires = { ...(python && { python }), ...(sklearn && { packages: { 'scikit-learn': sklearn } }) };
  const lineage: Record<string, string> = {};
  for (const key of ['run_id', 'model_id', 'model_uuid', 'mlflow_version', 'utc_time_created']) {
    if (typeof model[key] === 'string') lineage[key] = model[key];
  }
  return { flavor, requires, lineage, signature: signatureOf(model.signature) };
}

// Linear parsing: a check for duplicate keys compares all pairs, and a pretty error costs as much as the lines before it.
const LINEAR = { maxAliasCount: 100, uniqueKeys: false, prettyErrors: false, logLevel: 'error' } as const;
// A `%YAML 1.1` directive or a tag such as `!!timestamp` would otherwise make dates of strings.
const CORE_SCHEMA = { schema: 'core', resolveKnownTags: false } as const;

function yaml(text: string): unknown {
  try {
    return parse(text, { ...LINEAR, ...CORE_SCHEMA });
  } catch {
    return null;
  }
}

function constraint(version: unknown): string | null {
  return typeof version === 'string' ? constraintFrom(version) : null;
}

/** `inputs`, `outputs` and `params` are JSON in strings inside the YAML. */
function signatureOf(signature: Record<string, unknown> | null | undefined): MlModelFacts['signature'] {
  if (!signature) return null;
  const parsed = Object.entries(signature).map(([name, value]) => {
    try {
      return [name, typeof value === 'string' ? JSON.parse(value) : value];
    } catch {
      return [name, value];
    }
  });
  return Json.safeParse(Object.fromEntries(parsed)).data ?? null;
}
