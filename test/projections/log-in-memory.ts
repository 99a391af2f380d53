import { expect } from 'vitest';
import type { Digest } from '../../src/domain/digest.ts';
import type { RegistryEvent } from '../../src/domain/events.ts';
import { Manifest } from '../../src/domain/manifest.ts';
import { activeMap } from '../../src/domain/model.ts';
import { encodeEvent } from '../../src/log/codec.ts';
import type { LogMessage } from '../../src/log/read.ts';
import type { TailState } from '../../src/log/supervise.ts';
import type { EventListener } from '../../src/projections/projector.ts';
import { newReadModel } from '../support/read-model.ts';

const digest: Digest = `sha256:${'0'.repeat(64)}`;

/** A log in memory, folded as the projector folds it. */
export function newLog(generation = 0, earlier: LogMessage[] = []) {
  const readModel = newReadModel(generation);
  const messages = [...earlier];
  const listeners: EventListener[] = [];
  const stateListeners: ((state: TailState) => void)[] = [];
  let state: TailState = 'live';
  for (const message of messages) readModel.fold(message);
  readModel.commit();
  const add = (type: RegistryEvent['type'], data: Record<string, unknown>, model = 'fraud') => {
    const state = readModel.model(model);
    const time = new Date(Date.UTC(2026, 2, 3, 14, 5, messages.length)).toISOString();
    const head = { id: `e-${messages.length}`, model, time, actor: 'ana', request_id: `r-${messages.length + 1}` };
    const body = encodeEvent({ ...head, type, data } as RegistryEvent, state.head);
    const message = { revision: messages.length + 1, model, body };
    messages.push(message);
    const event = readModel.fold(message);
    readModel.commit();
    expect(readModel.frozen(model)).toBeNull();
    for (const listener of listeners) listener({ event: event!, revision: message.revision });
  };
  return {
    readModel,
    messages,
    projector: {
      readModel,
      state: () => state,
      onEvent: (listener: EventListener) => listeners.push(listener),
      onState: (listener: (state: TailState) => void) => stateListeners.push(listener),
    },
    readAt: async (revision: number) => messages[revision - 1] ?? null,
    catchingUp: (is: boolean) => {
      state = is ? 'catching-up' : 'live';
    },
    /** Replaces the log by its first messages, as the tail does: the events are read from the start. */
    restore(count: number) {
      state = 'cut-off';
      readModel.reset(readModel.position.generation + 1);
      for (const listener of listeners) listener(null);
      for (const message of messages.splice(0).slice(0, count)) {
        messages.push(message);
        const event = readModel.fold(message)!;
        for (const listener of listeners) listener({ event, revision: message.revision });
      }
      state = 'live';
      for (const listener of stateListeners) listener(state);
    },
    publish(version: string, model = 'fraud', artifact = { digest, size: 1 }) {
      const manifest = Manifest.parse({ artifacts: [{ path: 'model.joblib', ...artifact }] });
      const active = activeMap(readModel.model(model), ['production', 'staging']);
      add('version.published', { version, manifest, manifest_digest: digest, notes: '', active }, model);
    },
    activate(version: string, model = 'fraud', environment = 'production') {
      const now = readModel.model(model);
      const target = now.record(version)!;
      const previous = now.environments.get(environment)?.top?.version ?? null;
      const active = activeMap(now, ['production', 'staging'], { environment, target });
      const data = { environment, version, previous, reason: 'better', runtime_checked: false, active };
      add('version.activated', data, model);
    },
    archive(version: string, model = 'fraud') {
      const active = activeMap(readModel.model(model), ['production', 'staging']);
      add('version.archived', { version, reason: 'old', active }, model);
    },
    moves: () => messages.flatMap(({ body, revision }) => (`${body}`.includes('version.activated') ? [revision] : [])),
  };
}
export type Log = ReturnType<typeof newLog>;
