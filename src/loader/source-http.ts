import { setTimeout as sleep } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import type { RegistryClient } from '../client/client.ts';
import { Target } from '../domain/fleet.ts';
import { Snapshot } from '../domain/snapshot.ts';
import { createBackoff } from './backoff.ts';
import type { LoaderLog } from './log.ts';
import { createMailbox } from './mailbox.ts';
import { judge, type Position } from './position.ts';
import type { Sighting, Source } from './source.ts';

export interface HttpSourceOptions {
  client: RegistryClient;
  /** Of the event stream, at the client's address. */
  path: string;
  environment: string;
  log: LoaderLog;
}

/** Three heartbeats. */
const IDLE_MS = 45_000;
const SILENT_MS = 90_000;
const POLL_EVERY_MS = 30_000;
const POLL_TIMEOUT_MS = 10_000;
const HEALTHY_MS = 120_000;
const MAX_EVENT_CHARACTERS = 1024 * 1024;
const EVENTS = ['reset', 'snapshot', 'activation', 'heartbeat'];

/**
 * Follows a model by its event stream. The loop is our own: what browsers do ends for good at the first 502. While the
 * stream is away, polling goes on beside its attempts to come back, and never in their place.
 */
export function httpSource({ client, path, environment, log }: HttpSourceOptions): Source {
  return {
    async *follow(held, signal) {
      const inbox = createMailbox<Sighting>();
      const hearing = listener(environment, held, inbox.put);
      const silence = setInterval(hearing.checkSilence, 5_000);
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
    const backoff = createBackoff(1_000, 30_000);
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
    const watchdog = setTimeout(() => idle.abort(new Error('the event stream fell silent')), IDLE_MS);
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
        const limit = AbortSignal.any([signal, AbortSignal.timeout(POLL_TIMEOUT_MS)]);
        const response = await client.open(path, { headers, signal: limit });
        if (response.status === 304) hearing.hearAgain();
        else hearing.hear(await response.json());
        etag = response.headers.get('etag');
      } catch (error) {
        if (!signal.aborted) log.debug({ err: error }, 'the registry could not be polled');
      }
      await sleep(POLL_EVERY_MS * (0.8 + Math.random() * 0.4), undefined, { signal }).catch(() => {});
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
  checkSilence(): void;
}

/** Judges what is heard, and tells of it. */
function listener(environment: string, from: Position | null, tell: (sighting: Sighting) => void): Listener {
  let held = from;
  let last: Sighting | null = null;
  let heardAt = performance.now();
  let silent = false;

  return { held: () => held, hear, hearAgain, checkSilence };

  function hear(said: unknown): ReturnType<typeof judge> {
    const { generation, epoch, revision, active, stale = false } = Snapshot.parse(said);
    const { id, reset = false } = said as { id: string; reset?: boolean };
    const verdict = judge(held, { generation, epoch, revision }, reset);
    hearAgain();
    if (verdict === 'pass') return verdict;
    if (verdict === 'take') held = { generation, epoch, revision, id };
    last = verdict === 'diverged' ? { state: 'diverged' } : sightingOf(held!, active[environment], stale);
    tell(last);
    return verdict;
  }

  function hearAgain(): void {
    heardAt = performance.now();
    if (silent && last) tell(last);
    silent = false;
  }

  function checkSilence(): void {
    if (silent || performance.now() - heardAt < SILENT_MS) return;
    silent = true;
    tell({ state: 'silent' });
  }
}

function sightingOf(position: Position, pointer: Snapshot['active'][string] | undefined, stale: boolean): Sighting {
  if (pointer === undefined) return { state: 'unknown-environment' };
  if (pointer === null) return { state: 'following', position, target: null, stale };
  const { version, manifest_digest, revision } = pointer;
  return { state: 'following', position, target: Target.parse({ version, manifest_digest, revision }), stale };
}
