import { environmentOf, initialModel, type Model } from '../domain/model.ts';
import type { HistoryEntry, ModelEntry } from './registry.ts';

/** A model as it was after one of its events, as far as the index shows. */
export interface Past {
  /** Without reasons and request ids; stacks have only their top, and notes are the current ones. */
  model: Model;
  /** The events with the notes of that time, by version, for versions whose notes were changed later. */
  notes: Map<string, number>;
}

/** Needs no event: a version never changes, and the index has when it was published, archived or moved. */
export function pastOf({ model, history }: ModelEntry, revision: number): Past {
  const past: Past = { model: initialModel(model.name), notes: new Map() };
  const noted = new Map<string, number>();
  for (const entry of history) {
    const { type, version } = entry;
    const isNote = type === 'notes.changed' || type === 'version.published';
    if (entry.revision <= revision) {
      if (isNote) noted.set(version!, entry.revision);
      step(past.model, entry, model);
    } else if (isNote && noted.has(version!)) past.notes.set(version!, noted.get(version!)!);
  }
  return past;
}

function step(past: Model, entry: HistoryEntry, today: Model): void {
  const { type, revision, environment, version, actor: by } = entry;
  const { versions, environments } = past;
  switch (type) {
    case 'version.published':
    case 'version.restored':
      versions.set(version!, { ...today.versions.get(version!)!, status: 'ready' });
      break;
    case 'version.archived':
      versions.set(version!, { ...today.versions.get(version!)!, status: 'archived' });
      break;
    case 'version.activated':
    case 'version.rolled_back':
    case 'version.deactivated': {
      const moved = { revision, at: new Date(entry.at).toISOString(), by, reason: null, request_id: '' };
      const top = { revision, version, below: null };
      environments.set(environment!, { ...environmentOf(past, environment!), top, moved });
    }
  }
}
