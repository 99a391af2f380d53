import { setTimeout as sleep } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import { Snapshot } from '../../api/snapshot.ts';
import type { RegistryClient } from '../../client/client.ts';
import { Target } from '../../domain/fleet.ts';
import { createBackoff } from '../backoff.ts';
import type { LoaderLog } from '../log.ts';
import { createMailbox } from '../mailbox.ts';
import { type Acceptance, acceptanceOf, type FollowedPosition } from '../position.ts';
import type { Sighting, Source } from './source.ts';

export interface HttpSourceOptions {
  client: RegistryClient;
  /** Path and query of the event stream at the client's address. */
  path: string;
  model: string;
  environment: string;
  log: LoaderLog;
}

const TIMINGS = {
  /** Longest time without data on a stream before it is reopened: three heartbeats. */
  idleMs: 45_000,
  /** Longest silence of the registry before it is reported. */
  silentMs: 90_000,
  pollEveryMs: 30_000,
  pollTimeoutMs: 10_000,
  /** First and longest pause between streams. */
  backoffMs: [1_000, 30_000] as [number, number],
};
const HEALTHY_MS = 120_000;
const MAX_EVENT_CHARACTERS = 1024 * 1024;
const EVENTS = ['reset', 'snapshot', 'activation', 'heartbeat'];

/**
 * Follows a model by its event stream. It does not use EventSource, which by its standard ends for good at the first 502.
 * While the stream is down, the source polls in addition to reconnecting.
 */
export function httpSource(
  { client, path, model, environment, log }: HttpSourceOptions,
  timings: Partial<typeof TIMINGS> = {},
): Source {
  const { idleMs, silentMs, pollEveryMs, pollTimeoutMs, backoffMs } = { ...TIMINGS, ...timings };

  return {
    async *follow(held, signal) {
      const inbox = createMailbox<Sighting>();
      const listener = createListener(model, environment, held, inbox.put);
      const silence = setInterval(() => listener.checkSilence(silentMs), silentMs / 20);
      silence.unref();
      const streaming = stream(listener, signal);
      try {
        yield* inbox.take(signal);
      } finally {
        clearInterval(silence);
        await streaming;
      }
    },
  };

  async function stream(listener: Listener, signal: AbortSignal): Promise<void> {
    const backoff = createBackoff(...backoffMs);
    let polling: { stop: AbortController; ended: Promise<void> } | null = null;
    let failing = false;
    const received = () => {
      polling?.stop.abort();
      failing = false;
    };
    while (!signal.aborted) {
      const started = performance.now();
      try {
        await readStream(listener, signal, received);
      } catch (error) {
        // Logs only the first of consecutive failures as a warning.
        if (!signal.aborted) log[failing ? 'debug' : 'warn']({ err: error }, 'the event stream failed; reconnecting');
        failing = true;
      }
      if (performance.now() - started > HEALTHY_MS) backoff.reset();
      if (!polling || polling.stop.signal.aborted) {
        await polling?.ended;
        const stop = new AbortController();
        polling = { stop, ended: poll(listener, AbortSignal.any([signal, stop.signal])) };
      }
      await backoff.pause(signal);
    }
    await polling?.ended;
  }

  /** Reads until the stream ends, or has no data for `idleMs`. */
  async function readStream(listener: Listener, signal: AbortSignal, received: () => void): Promise<void> {
    const idle = new AbortController();
    const watchdog = setTimeout(() => idle.abort(new Error(`no data for ${idleMs / 1000} s`)), idleMs);
    try {
      const headers = { Accept: 'text/event-stream', ...lastEventId(listener) };
      const response = await client.open(path, { headers, signal: AbortSignal.any([signal, idle.signal]) });
      if (!response.headers.get('content-type')?.startsWith('text/event-stream')) {
        await response.body?.cancel();
        throw new Error(`${path} is not an event stream`);
      }
      const parser = streamParser(listener, received);
      const decoder = new TextDecoder();
      for await (const chunk of response.body!) {
        watchdog.refresh();
        parser.feed(decoder.decode(chunk, { stream: true }));
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  /** `feed` throws at a malformed event, which ends the connection. */
  function streamParser(listener: Listener, received: () => void) {
    let reset = false;
    return createParser({
      maxBufferSize: MAX_EVENT_CHARACTERS,
      onEvent({ event, id, data }) {
        if (!EVENTS.includes(event ?? '')) return;
        reset ||= event === 'reset';
        // After `reset`, all events of this stream are about the other log.
        if (listener.receive({ ...JSON.parse(data), id: id ?? '', reset }) === 'accept') reset = false;
        received();
      },
    });
  }

  /** Polls at once and then about every `pollEveryMs`, until the stream works again. */
  async function poll(listener: Listener, signal: AbortSignal): Promise<void> {
    let etag: string | null = null;
    while (!signal.aborted) {
      try {
        const unless = etag && { 'If-None-Match': etag };
        const headers = { Accept: 'application/json', ...lastEventId(listener), ...unless };
        const limit = AbortSignal.any([signal, AbortSignal.timeout(pollTimeoutMs)]);
        const response = await client.open(path, { headers, signal: limit });
        if (response.status === 304) listener.confirm();
        else listener.receive(await response.json());
        etag = response.headers.get('etag');
      } catch (error) {
        if (!signal.aborted) log.debug({ err: error }, 'polling the registry failed');
      }
      await sleep(pollEveryMs * (0.8 + Math.random() * 0.4), undefined, { signal }).catch(() => {});
    }
  }
}

function lastEventId(listener: Listener): Record<string, string> {
  const id = listener.held()?.id;
  return id ? { 'Last-Event-ID': id } : {};
}

interface Listener {
  held(): FollowedPosition | null;
  /** Handles a snapshot from the registry. @throws {Error} for an invalid one */
  receive(message: unknown): Acceptance;
  /** Called when the registry reports no change. */
  confirm(): void;
  /** Reports a silence of at least `silentMs`. */
  checkSilence(silentMs: number): void;
}

/** Decides which messages are accepted, and passes the sightings on. */
function createListener(
  model: string,
  environment: string,
  from: FollowedPosition | null,
  report: (sighting: Sighting) => void,
): Listener {
  let held = from;
  let last: Sighting | null = null;
  let receivedAt = performance.now();
  let silent = false;

  return { held: () => held, receive, confirm, checkSilence };

  function receive(message: unknown): Acceptance {
    const { generation, epoch, revision, active, stale = false, model: of } = Snapshot.parse(message);
    if (of !== model) throw new Error(`the event stream is about the model ${of}, not ${model}`);
    const { id, reset = false } = message as { id: string; reset?: boolean };
    const position = { generation, epoch, revision, id };
    const sighting = sightingOf(position, active[environment], stale);
    const acceptance = acceptanceOf(position, held, reset);
    confirm();
    if (acceptance === 'skip') return acceptance;
    if (acceptance === 'accept') held = position;
    last = acceptance === 'accept' ? sighting : { state: 'diverged' };
    report(last);
    return acceptance;
  }

  function confirm(): void {
    receivedAt = performance.now();
    if (silent && last) report(last);
    silent = false;
  }

  function checkSilence(silentMs: number): void {
    if (silent || performance.now() - receivedAt < silentMs) return;
    silent = true;
    report({ state: 'silent' });
  }
}

type Pointer = Snapshot['active'][string] | undefined;

function sightingOf(position: FollowedPosition, pointer: Pointer, stale: boolean): Sighting {
  if (pointer === undefined) return { state: 'unknown-environment' };
  if (pointer === null) return { state: 'following', position, target: null, stale };
  const { version, manifest_digest, revision, request_id } = pointer;
  const target = Target.parse({ version, manifest_digest, revision });
  return { state: 'following', position, target, request_id, stale };
}
