export const STREAM = 'REGISTRY';
export const PREFIX = 'registry.models.';

/** Returns the subject of a model. Each model has one, because compare-and-set works on a subject. */
export function subjectOf(model: string): string {
  return PREFIX + model;
}

export function modelOf(subject: string): string {
  return subject.slice(PREFIX.length);
}
