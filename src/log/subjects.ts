export const STREAM = 'REGISTRY';
export const PREFIX = 'registry.models.';

/** One subject a model: the unit of consistency. */
export function subjectOf(model: string): string {
  return PREFIX + model;
}

export function modelOf(subject: string): string {
  return subject.slice(PREFIX.length);
}
