import { setTimeout as sleep } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import { Snapshot } from '../../api/snapshot.ts';
import type { RegistryClient } from '../../client/client.ts';
import { Target } from '../../domain/fleet.ts';
import { createBackoff } from '../backoff.ts';
import type { LoaderLog } from '../log.ts';
import { createMailbox } from '../mailbox.ts';
import { judge, type Position } from '../position.ts';
import type { Sighting, Source } from './source.ts';

export interface HttpSourceOptions {
  client: RegistryClient;
  /** Of the event stream, at the client's address. */
  path: string;
  model: string;
  environment: string;
  log: LoaderLog;
}

const TIMINGS = {
  /** After which a stream that carries nothing is made anew: three heartbeats. */
  idleMs: 45_000,
  /** After which nothing having been heard at all is told. */
  silentMs: 90_000,
  pollEveryMs: 30_000,
  pollTimeoutMs: 10_000,
  /** Of the pauses between streams: the first and the longest. */
  backoffMs: [1_000, 30_000] as [number, number],
};
const HEALTHY_MS = 120_000;
const MAX_EVENT_CHARACTERS = 1024 * 1024;
const EVENTS = ['reset', 'snapshot', 'activation', 'heartbeat'];

/**
 * Follows a model by its event stream. The loop is our own: what browsers do ends for good at the first 502. While the
 * stream is away, polling goes on beside its attempts to come back, and never in their place.
 */
export function httpSource(
  { client, path, model, environment, log }: HttpSourceOptions,
  timings: Partial<typeof TIMINGS> = {},
): Source {
  const { idleMs, silentMs, pollEveryMs, pollTimeoutMs, backoffMs } = { ...TIMINGS, ...timings };

  return {
    async *follow(held, signal) {
      const inbox = createMailbox<Sighting>();
      const hearing = listener(model, environment, held, inbox.put);
      const silence = setInterval(() => hearing.checkSilence(silentMs), silentMs / 20);
      silence.unref();
      const streaming = stream(hearing, signal);
      try {
        yield* inbox.take(signal);
      } finally {
        clearInterval(silence);
        await streaming;
      }
    },
  };

  async function stream(hearing: Listener, signal: AbortSignal): Promise<void> {
    const backoff = createBackoff(...backoffMs);
    let polling: { stop: AbortController; ended: Promise<void> } | null = null;
    let told = false;
    const heard = () => {
      polling?.stop.abort();
      told = false;
    };
    while (!signal.aborted) {
      const started = performance.now();
      try {
        await readStream(hearing, signal, heard);
      } catch (error) {
        // Once: a registry that is away is away for many attempts.
        if (!signal.aborted) log[told ? 'debug' : 'warn']({ err: error }, 'the event stream is away');
        told = true;
      }
      if (performance.now() - started > HEALTHY_MS) backoff.reset();
      if (!polling || polling.stop.signal.aborted) {
        await polling?.ended;
        const stop = new AbortController();
        polling = { stop, ended: poll(hearing, AbortSignal.any([signal, stop.signal])) };
      }
      await backoff.pause(signal);
    }
    await polling?.ended;
  }

  /** Until the stream ends or falls silent. */
  async function readStream(hearing: Listener, signal: AbortSignal, heard: () => void): Promise<void> {
    const idle = new AbortController();
    const watchdog = setTimeout(() => idle.abort(new Error('the event stream fell silent')), idleMs);
    try {
      const headers = { Accept: 'text/event-stream', ...lastEventId(hearing) };
      const response = await client.open(path, { headers, signal: AbortSignal.any([signal, idle.signal]) });
      if (!response.headers.get('content-type')?.startsWith('text/event-stream')) {
        await response.body?.cancel();
        throw new Error('what answers there is no event stream');
      }
      const parser = streamParser(hearing, heard);
      const decoder = new TextDecoder();
      for await (const chunk of response.body!) {
        watchdog.refresh();
        parser.feed(decoder.decode(chunk, { stream: true }));
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  /** Throws at what is no event of ours: the connection is then made anew. */
  function streamParser(hearing: Listener, heard: () => void) {
    let reset = false;
    return createParser({
      maxBufferSize: MAX_EVENT_CHARACTERS,
      onEvent({ event, id, data }) {
        if (!EVENTS.includes(event ?? '')) return;
        reset ||= event === 'reset';
        // Once the log was found to be another one, all that this stream tells is of that one.
        if (hearing.hear({ ...JSON.parse(data), id: id ?? '', reset }) === 'take') reset = false;
        heard();
      },
    });
  }

  /** At once, and from time to time, until the signal aborts: the stream is heard again. */
  async function poll(hearing: Listener, signal: AbortSignal): Promise<void> {
    let etag: string | null = null;
    while (!signal.aborted) {
      try {
        const headers = { Accept: 'application/json', ...lastEventId(hearing), ...(etag && { 'If-None-Match': etag }) };
        const limit = AbortSignal.any([signal, AbortSignal.timeout(pollTimeoutMs)]);
        const response = await client.open(path, { headers, signal: limit });
        if (response.status === 304) hearing.hearAgain();
        else hearing.hear(await response.json());
        etag = response.headers.get('etag');
      } catch (error) {
        if (!signal.aborted) log.debug({ err: error }, 'the registry could not be polled');
      }
      await sleep(pollEveryMs * (0.8 + Math.random() * 0.4), undefined, { signal }).catch(() => {});
    }
  }
}

function lastEventId(hearing: Listener): Record<string, string> {
  const id = hearing.held()?.id;
  return id ? { 'Last-Event-ID': id } : {};
}

interface Listener {
  held(): Position | null;
  /** Takes a snapshot as the registry tells it. @throws {Error} for what is none */
  hear(said: unknown): ReturnType<typeof judge>;
  /** The registry says that nothing has changed since. */
  hearAgain(): void;
  /** Tells of it if nothing was heard for so long. */
  checkSilence(silentMs: number): void;
}

/** Judges what is heard, and tells of it. */
function listener(
  model: string,
  environment: string,
  from: Position | null,
  tell: (sighting: Sighting) => void,
): Listener {
  let held = from;
  let last: Sighting | null = null;
  let heardAt = performance.now();
  let silent = false;

  return { held: () => held, hear, hearAgain, checkSilence };

  function hear(said: unknown): ReturnType<typeof judge> {
    const { generation, epoch, revision, active, stale = false, model: of } = Snapshot.parse(said);
    if (of !== model) throw new Error(`what is told there is about the model ${of}, not ${model}`);
    const { id, reset = false } = said as { id: string; reset?: boolean };
    const position = { generation, epoch, revision, id };
    const sighting = sightingOf(position, active[environment], stale);
    const verdict = judge(held, position, reset);
    hearAgain();
    if (verdict === 'pass') return verdict;
    if (verdict === 'take') held = position;
    last = verdict === 'take' ? sighting : { state: 'diverged' };
    tell(last);
    return verdict;
  }

  function hearAgain(): void {
    heardAt = performance.now();
    if (silent && last) tell(last);
    silent = false;
  }

  function checkSilence(silentMs: number): void {
    if (silent || performance.now() - heardAt < silentMs) return;
    silent = true;
    tell({ state: 'silent' });
  }
}

function sightingOf(position: Position, pointer: Snapshot['active'][string] | undefined, stale: boolean): Sighting {
  if (pointer === undefined) return { state: 'unknown-environment' };
  if (pointer === null) return { state: 'following', position, target: null, stale };
  const { version, manifest_digest, revision, request_id } = pointer;
  const target = Target.parse({ version, manifest_digest, revision });
  return { state: 'following', position, target, request_id, stale };
}
