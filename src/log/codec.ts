import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { EVENT_TYPES, type EventType, eventData, type RegistryEvent } from '../domain/events.ts';
import { upcast } from './upcast.ts';

/**
 * An event as a CloudEvents 1.0 JSON object (structured mode). `prevhash` is the hash of the model's previous message
 * body, so that each model's events form a chain.
 */
const Envelope = z.object({
  specversion: z.literal('1.0'),
  id: z.string().min(1),
  source: z.string(),
  type: z.string(),
  subject: z.string(),
  datacontenttype: z.string().optional(),
  time: z.iso.datetime(),
  data: z.unknown(),
  actor: z.string(),
  requestid: z.string(),
  prevhash: z.string(),
  idempotencykey: z.string().optional(),
  commandhash: z.string().optional(),
  /** A newer writer's word that a reader who does not know the type may pass over the event. */
  ignorable: z.boolean().optional(),
});
type Envelope = z.infer<typeof Envelope>;

/** A body that no reader of this version can follow past. */
export class Undecodable extends Error {
  override readonly name = 'Undecodable';
}

/** `event` is null for one of an unknown type that may be passed over. */
export interface Decoded {
  event: RegistryEvent | null;
  prevhash: string;
}

const SOURCE = 'urn:signalbox:registry';
const CURRENT = 1;

/** Every spelling of a type that can be read: each schema version up to the current one. */
const readable = new Map<string, { type: EventType; version: number }>();
for (const type of EVENT_TYPES) {
  for (let version = 1; version <= CURRENT; version++) readable.set(spelled(type, version), { type, version });
}

function spelled(type: EventType, version: number): string {
  return `signalbox.${type}.v${version}`;
}

export function encodeEvent(event: RegistryEvent, prevhash: string): Buffer {
  const envelope: Envelope = {
    specversion: '1.0',
    id: event.id,
    source: SOURCE,
    type: spelled(event.type, CURRENT),
    subject: event.model,
    time: event.time,
    datacontenttype: 'application/json',
    actor: event.actor,
    requestid: event.request_id,
    prevhash,
    ...(event.idempotency && {
      idempotencykey: event.idempotency.key,
      commandhash: event.idempotency.command_hash,
    }),
    data: event.data,
  };
  return Buffer.from(JSON.stringify(envelope));
}

/** @throws {Undecodable} no CloudEvent, of an unknown type that is not marked ignorable, or with data of another shape */
export function decodeEvent(body: Uint8Array): Decoded {
  const envelope = parse(Envelope, json(body));
  const known = readable.get(envelope.type);
  if (!known && envelope.ignorable) return { event: null, prevhash: envelope.prevhash };
  if (!known) throw new Undecodable(`it is of the unknown type ${envelope.type}`);
  const { type, version } = known;
  const data = parse<unknown>(eventData[type], upcast(type, version, envelope.data as Record<string, unknown>));
  return { event: eventFrom(envelope, type, data), prevhash: envelope.prevhash };
}

function eventFrom(envelope: Envelope, type: EventType, data: unknown): RegistryEvent {
  const { id, time, actor, subject: model, requestid: request_id, idempotencykey: key, commandhash } = envelope;
  const event = { type, model, id, time, actor, request_id, data } as RegistryEvent;
  if (key !== undefined && commandhash !== undefined) event.idempotency = { key, command_hash: commandhash };
  return event;
}

function json(body: Uint8Array): unknown {
  if (!isUtf8(body)) throw new Undecodable('it is not UTF-8');
  try {
    return JSON.parse(bufferOf(body).toString('utf8'));
  } catch (cause) {
    throw new Undecodable('it is not JSON', { cause });
  }
}

/** The same bytes as a Buffer, which is what the client has made of them already. */
function bufferOf(body: Uint8Array): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new Undecodable(`it has another shape: ${z.prettifyError(result.error)}`, { cause: result.error });
}
