import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Command } from '../../../src/commands/command.ts';
import { Problem } from '../../../src/domain/errors.ts';
import type { RegistryEvent } from '../../../src/domain/events.ts';
import type { Model } from '../../../src/domain/model.ts';
import { encodeEvent } from '../../../src/log/codec.ts';
import { hashOf, type LogMessage } from '../../../src/log/read.ts';
import { modelNames } from '../../../src/projections/read-model/models.ts';
import { ReadModel } from '../../../src/projections/read-model/read-model.ts';
import { commands } from '../../audit/support.ts';
import { type Asked, commandOf, contextOf } from '../../commands/history.ts';
import { at } from '../../commands/support.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { ModelInMemory } from '../../support/model-in-memory.ts';

const log = { warn() {}, error() {} };
const VERSIONS = ['1.0.0', '1.1.0', '2.0.0-rc.1', '2.0.0', '9.9.9'];
const ACTORS = ['ana', 'a"', 'a'];
const KEYS = ['k', 'k,1', '__proto__'];

interface Given {
  asked: [model: string, Asked];
  actor: string;
  key: string | undefined;
  /** What happens after the event: another transaction, the end of the process in the middle of one, or neither. */
  after: 'goes on' | 'commits' | 'is killed' | 'restarts';
}

const given = fc.tuple(commands, fc.infiniteStream(fc.nat(99))).map(([all, stream]): Given[] =>
  all.map((asked) => {
    const [actor, key, after] = [
      stream.next().value as number,
      stream.next().value as number,
      stream.next().value as number,
    ];
    return {
      asked,
      actor: ACTORS[actor % ACTORS.length]!,
      key: key < 30 ? KEYS[key % KEYS.length] : undefined,
      after: after < 60 ? 'goes on' : after < 80 ? 'commits' : after < 90 ? 'is killed' : 'restarts',
    };
  }),
);

test('equals plain maps over random histories, whatever is committed, killed or restarted in between', async () => {
  const folder = await temporaryFolder();
  let run = 0;
  fc.assert(
    fc.property(given, (steps) => {
      const path = join(folder, `${run++}.db`);
      let readModel = new ReadModel({ path, log });
      const models = new Map<string, ModelInMemory>();
      const messages: LogMessage[] = [];
      let now = 0;
      for (const step of steps) {
        now += step.asked[1].wait;
        const message = next(models, messages.length + 1, step, now);
        if (!message) continue;
        messages.push(message);
        readModel.fold(message);
        expect(stateOf(readModel.model(message.model))).toEqual(stateOf(models.get(message.model)!));
        if (step.after === 'commits') readModel.commit();
        if (step.after === 'restarts') readModel.commit();
        if (step.after === 'goes on' || step.after === 'commits') continue;
        readModel.close(); // what was not committed is lost, as with a process that is killed
        readModel = new ReadModel({ path, log });
        for (const lost of messages.slice(readModel.position.revision)) readModel.fold(lost);
      }
      expect(readModel.position.revision).toBe(messages.length);
      expect(modelNames(readModel.db).sort()).toEqual([...models.keys()].sort());
      for (const [name, model] of models) expect(stateOf(readModel.model(name)), name).toEqual(stateOf(model));
      const whole = new ReadModel({ path: ':memory:', log });
      for (const message of messages) whole.fold(message);
      expect(readModel.orderDigest()).toBe(whole.orderDigest());
      readModel.close();
    }),
    { numRuns: 60 },
  );
});

/** Gives a command to the plain model; returns the message of its event, or null. */
function next(models: Map<string, ModelInMemory>, revision: number, { asked, actor, key }: Given, now: number) {
  const [name, what] = asked;
  const model = models.get(name) ?? new ModelInMemory(name);
  const [command, input] = commandOf(what) as [Command<unknown>, object];
  try {
    const time = at(now) > model.time ? at(now) : model.time;
    const decision = command.decide(model, command.input.parse(input), { ...contextOf(what, now), now: time });
    if ('unchanged' in decision) return null;
    const idempotency = key === undefined ? {} : { idempotency: { key, command_hash: `${revision}` } };
    const rest = { model: name, id: `e-${revision}`, time, actor, request_id: `r-${revision}`, ...idempotency };
    const event = { ...decision.draft, ...rest } as RegistryEvent;
    const body = encodeEvent(event, model.head);
    models.set(name, model.follow(event, revision, hashOf(body)));
    return { revision, model: name, body };
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}

/** Everything that the rules can see of a model. */
function stateOf(model: Model): object {
  const { name, revision, head, time, versionCount, latest, highest, environments } = model;
  const pushed = [...environments.values()].flatMap(({ top }) => stackOf(model, top?.revision ?? null));
  return {
    ...{ name, revision, head, time, versionCount, latest, highest, pushed },
    environments: [...environments],
    versions: VERSIONS.map((version) => model.version(version)),
    records: VERSIONS.map((version) => {
      const found = model.record(version);
      return found && [found.version, found.status, found.manifest_digest, found.revision];
    }),
    outcomes: ACTORS.flatMap((actor) => KEYS.map((key) => model.outcome(actor, key))),
  };
}

function stackOf(model: Model, top: number | null): object[] {
  if (top === null) return [];
  const entry = model.pushed(top);
  return [{ ...entry }, ...stackOf(model, entry.below)];
}

test('keeps outcomes for 30 days after them, separately for each actor', () => {
  const DAY = 24 * 3600;
  const models = [new ModelInMemory('fraud'), new ReadModel({ path: ':memory:', log })] as const;
  const [plain, readModel] = models;
  let revision = 0;
  const publish = (version: string, seconds: number, key?: string) => {
    const all = new Map([['fraud', plain]]);
    const what = {
      kind: 'publish',
      version,
      gone: [],
      old: false,
      flavor: 'sklearn',
      python: '>=3.8',
    } as unknown as Asked;
    const message = next(all, ++revision, { asked: ['fraud', what], actor: 'ana', key, after: 'goes on' }, seconds)!;
    readModel.fold(message);
  };
  const kept = () =>
    [plain, readModel.model('fraud')].map((model) =>
      ['a', '__proto__', 'b'].map((key) => model.outcome('ana', key)?.revision),
    );
  publish('1.0.0', 0, 'a');
  publish('1.1.0', DAY, '__proto__');
  expect(readModel.model('fraud').outcome('ana', 'a')).toEqual({ command_hash: '1', revision: 1 });
  expect(readModel.model('fraud').outcome('eve', 'a')).toBeNull();
  publish('1.2.0', 30 * DAY - 1);
  expect(kept()).toEqual([
    [1, 2, undefined],
    [1, 2, undefined],
  ]);
  publish('1.3.0', 30 * DAY);
  expect(kept()).toEqual([
    [undefined, 2, undefined],
    [undefined, 2, undefined],
  ]);
  publish('1.4.0', 31 * DAY, 'b');
  expect(kept()).toEqual([
    [undefined, undefined, 5],
    [undefined, undefined, 5],
  ]);
});
