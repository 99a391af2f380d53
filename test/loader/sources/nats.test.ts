import { randomUUID } from 'node:crypto';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ActiveMap } from '../../../src/domain/events.ts';
import { NO_HEAD } from '../../../src/domain/model.ts';
import type { FollowedPosition } from '../../../src/loader/position.ts';
import { natsSource } from '../../../src/loader/sources/nats.ts';
import type { Sighting } from '../../../src/loader/sources/source.ts';
import { encodeEvent } from '../../../src/log/codec.ts';
import type { Nats } from '../../../src/log/connection.ts';
import type { LogPosition } from '../../../src/log/identity.ts';
import { tailModel } from '../../../src/log/model-tail.ts';
import { hashOf } from '../../../src/log/read.ts';
import { ensureStream, STREAM, subjectOf } from '../../../src/log/stream.ts';
import type { TailState } from '../../../src/log/supervise.ts';
import { back, insist, reconnect, startLog, until } from '../../log/support.ts';
import { digestOf } from '../../support/loaders.ts';
import { connected, SERVERS } from '../../support/nats.ts';
import { silent } from '../support.ts';

/** Writes a model's events as a chain. */
function writerOf(nats: Nats, model = 'fraud') {
  let head = NO_HEAD;
  let active: ActiveMap = { production: null, staging: null };
  const append = async (body: Uint8Array) => {
    head = hashOf(body);
    return (await nats.js.publish(subjectOf(model), body)).seq;
  };
  const event = () => ({ model, id: randomUUID(), time: '2026-03-03T14:05:00Z', actor: 'ana', request_id: 'r-1' });
  return {
    append,
    /** Writes an event that moves no environment. */
    note(prevhash = head) {
      const data = { version: '1.0.0', notes: 'a note', active };
      return append(encodeEvent({ ...event(), type: 'notes.changed', data }, prevhash));
    },
    /** Activates a version in an environment, or deactivates it. */
    async move(version: string | null, environment = 'production', prevhash = head) {
      const pointer = version && { version, manifest_digest: digestOf(version), published_revision: 1 };
      const moved: ActiveMap = { ...active, [environment]: pointer || null };
      const move = { environment, previous: null, reason: null, active: moved };
      const body =
        version === null
          ? encodeEvent({ ...event(), type: 'version.deactivated', data: { ...move, version } }, prevhash)
          : encodeEvent(
              { ...event(), type: 'version.activated', data: { ...move, version, runtime_checked: false } },
              prevhash,
            );
      const revision = await append(body);
      active = { ...moved, [environment]: pointer ? { ...pointer, revision } : null };
      return revision;
    },
  };
}

function follow(nats: Nats, held: FollowedPosition | null = null, environment = 'production', silentMs = 3600_000) {
  const warnings: string[] = [];
  const log = { ...silent, warn: (_: object, message: string) => void warnings.push(message) };
  const stop = new AbortController();
  const sightings: Sighting[] = [];
  const ended = (async () => {
    const source = natsSource({ nats, model: 'fraud', environment, log }, { silentMs });
    for await (const sighting of source.follow(held, stop.signal)) sightings.push(sighting);
  })();
  const end = () => {
    stop.abort();
    return ended;
  };
  onTestFinished(end);
  const last = () => sightings.at(-1);
  const at = (version: string | null, revision?: number) => {
    const seen = last();
    if (seen?.state !== 'following') return false;
    if (version === null) return seen.target === null;
    return seen.target?.version === version && (revision === undefined || seen.target.revision === revision);
  };
  return {
    sightings,
    warnings,
    last,
    sees: (version: string | null, revision?: number) => until(() => at(version, revision)),
    position() {
      const seen = last();
      if (seen?.state !== 'following') throw new Error(`it is ${seen?.state}`);
      return seen.position;
    },
    stop: end,
  };
}

/** Replaces the stream by one with other events. */
async function replace(nats: Nats, generation: number): Promise<ReturnType<typeof writerOf>> {
  const { config } = await nats.jsm.streams.info(STREAM);
  await nats.jsm.streams.delete(STREAM);
  const metadata = { ...config.metadata, generation: String(generation) };
  // The old stream's files may not be deleted yet.
  await insist(() => nats.jsm.streams.add({ ...config, metadata }));
  return writerOf(nats);
}

describe.each(SERVERS)('following a model on the $name server', { timeout: 30_000 }, ({ binary }) => {
  test('reports the active version and each move, from an empty log on', async () => {
    const { nats } = await startLog(binary());
    const { sees, last, position } = follow(nats);
    await sees(null);
    expect(position()).toEqual({ generation: 0, epoch: null, revision: 0, id: '0--0-' });
    await writerOf(nats, 'churn').move('9.0.0');
    const fraud = writerOf(nats);
    await fraud.note();
    await until(() => position().revision === 2);
    const revision = await fraud.move('1.0.0');
    await sees('1.0.0', revision);
    const target = { version: '1.0.0', manifest_digest: digestOf('1.0.0'), revision };
    expect(last()).toMatchObject({ state: 'following', stale: false, target });
    expect(position()).toMatchObject({ epoch: expect.stringMatching(/^[0-9a-f]{8}$/), revision });
    expect(position().id).toMatch(/^0-[0-9a-f]{8}-3-[0-9a-f]{16}$/);
    // A move of another environment does not change the target's revision.
    const later = await fraud.move('2.0.0', 'staging');
    await until(() => position().revision === later);
    expect(last()).toMatchObject({ target });
    await fraud.move(null);
    await sees(null);
    await sees('1.0.0', await fraud.move('1.0.0'));
  });

  test('begins with the last event, and reports an unknown environment', async () => {
    const { nats } = await startLog(binary());
    const fraud = writerOf(nats);
    for (const version of ['1.0.0', '1.1.0', '1.2.0']) await fraud.move(version);
    const { sees, sightings } = follow(nats);
    await sees('1.2.0');
    expect(sightings.every((seen) => seen.state === 'following' && seen.target?.version === '1.2.0')).toBe(true);
    const moon = follow(nats, null, 'moon');
    await until(() => moon.last()?.state === 'unknown-environment');
  });

  test('misses nothing while the server is killed and restarted, and reports a long outage', async () => {
    const { server, nats } = await startLog(binary());
    const { sees, last } = follow(nats, null, 'production', 200);
    const fraud = writerOf(nats);
    await sees('1.0.0', await fraud.move('1.0.0'));
    for (const version of ['1.1.0', '1.2.0']) {
      await server.kill();
      await until(() => last()?.state === 'silent');
      await server.start();
      await back(nats);
      await sees(version, await fraud.move(version));
    }
    await server.kill();
    await until(() => last()?.state === 'silent');
    await server.start();
    await sees('1.2.0');
  });

  test('reconnects after a gap between events, and reports the event', async () => {
    const { nats } = await startLog(binary());
    const { sees } = follow(nats);
    const seen: (number | TailState)[] = [];
    let logPosition: LogPosition | null = null;
    const tail = tailModel(nats, 'fraud', {
      position: () => logPosition,
      last(message, at) {
        logPosition = at;
        if (message) seen.push(message.revision);
      },
      state: (state) => seen.push(state),
    });
    onTestFinished(() => tail.close());
    await until(() => seen.includes('live'));
    const fraud = writerOf(nats);
    await sees('1.0.0', await fraud.move('1.0.0'));
    await sees('1.1.0', await fraud.move('1.1.0', 'production', 'f'.repeat(64)));
    await until(() => seen.at(-1) === 'live' && seen.includes('cut-off'));
    await sees('1.2.0', await fraud.move('1.2.0'));
    await until(() => seen.at(-1) === 3);
    expect(seen).toEqual(['live', 1, 'cut-off', 2, 'live', 3]);
  });

  test('skips an unreadable event with a warning, and keeps the target', async () => {
    const { server, nats } = await startLog(binary());
    const { sees, warnings, last } = follow(nats, null, 'production', 200);
    const fraud = writerOf(nats);
    await sees('1.0.0', await fraud.move('1.0.0'));
    for (const rubbish of ['rubbish', '{"data":{}}', '{"data":{"active":{"production":{"version":1}}}}']) {
      const before = warnings.length;
      await fraud.append(Buffer.from(rubbish));
      await until(() => warnings.length > before);
      expect(last()).toMatchObject({ state: 'following', target: { version: '1.0.0' } });
    }
    await server.kill();
    await until(() => last()?.state === 'silent');
    await server.start();
    await sees('1.0.0');
    await back(nats);
    await sees('1.1.0', await fraud.move('1.1.0'));
  });

  test('does not follow another log in its place, unless it was restored', async () => {
    const { nats } = await startLog(binary());
    const { sees, last, sightings, position } = follow(nats);
    const fraud = writerOf(nats);
    await fraud.move('1.0.0');
    await sees('1.1.0', await fraud.move('1.1.0'));
    const held = position();
    const other = await replace(nats, 0);
    for (const version of ['9.0.0', '9.1.0', '9.2.0']) await other.move(version);
    await until(() => last()?.state === 'diverged');
    expect(JSON.stringify(sightings)).not.toContain('9.');
    const restored = await replace(nats, 1);
    await restored.move('1.0.0');
    await sees('1.0.0', 1);
    expect(position()).toMatchObject({ generation: 1, revision: 1 });
    // A position before the restore accepts the restored log; a later position does not accept the log before it.
    const late = follow(nats, held);
    await late.sees('1.0.0', 1);
    const ahead = follow(nats, { ...position(), generation: 2, id: position().id.replace(/^1/, '2') });
    await until(() => ahead.last()?.state === 'diverged');
  });

  test('resumes from a stored position, but not from one that the log does not contain', async () => {
    const { nats } = await startLog(binary());
    const fraud = writerOf(nats);
    await fraud.move('1.0.0');
    const first = follow(nats);
    await first.sees('1.0.0');
    const held = first.position();
    await first.stop();
    await fraud.move('1.1.0');
    await follow(nats, held).sees('1.1.0');
    for (const id of [
      held.id.replace(/-1-/, '-7-'),
      `${held.id.slice(0, -4)}ffff`,
      held.id.replace(/^0-..../, '0-0000'),
    ]) {
      const { last, sightings } = follow(nats, { ...held, id });
      await until(() => last() !== undefined);
      expect(
        sightings.map(({ state }) => state),
        id,
      ).toEqual(['diverged']);
    }
    // An invalid position counts as none.
    await follow(nats, { ...held, id: 'rubbish' }).sees('1.1.0');
  });

  test('waits for a stream that does not exist yet, and ends when its signal aborts', async () => {
    const { server, nats } = await startLog(binary());
    await nats.jsm.streams.delete(STREAM);
    const { sees, stop } = follow(nats);
    const writer = await connected(server);
    await ensureStream(writer);
    await sees(null);
    await reconnect(nats);
    await sees('1.0.0', await writerOf(writer).move('1.0.0'));
    await stop();
    const away = follow(nats);
    await server.kill();
    await away.stop();
  });
});
