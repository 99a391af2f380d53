import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import {
  ActiveMap,
  EVENT_VERSIONS,
  type EventType,
  eventData,
  type RegistryEvent,
  versionOf,
} from '../domain/events.ts';
import { type Upcasters, upcast, upcasters } from './upcast.ts';

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
  /** A reader that does not know the type or the version may skip the event. */
  ignorable: z.boolean().optional(),
});
type Envelope = z.infer<typeof Envelope>;

/** A body that this version of Signalbox cannot read; it must not follow the model past it. */
export class Undecodable extends Error {
  override readonly name = 'Undecodable';
}

/** `event` is null if its type or version is unknown and it may be skipped. */
export type Decoded = { event: RegistryEvent; prevhash: string } | { event: null; prevhash: string; active: ActiveMap };

/** The data of every event, whatever its type. */
const AnyData = z.looseObject({ active: ActiveMap });

/** The event types of a codec. Tests use other tables than the current one to stand for newer servers. */
export interface EventTable {
  /** The newest version of each type; every version from 1 to it is read. */
  versions: Readonly<Record<string, number>>;
  /** The version that an event is written in; default: the newest. */
  versionOf?(event: RegistryEvent): number;
  /** The data of each type in that version. */
  shapes: Readonly<Record<string, z.ZodType>>;
  upcasters: Upcasters;
}

const SOURCE = 'urn:signalbox:registry';

const current = createCodec({ versions: EVENT_VERSIONS, versionOf, shapes: eventData, upcasters });

/** Writes an event in the version that it needs. */
export const encodeEvent = current.encode;

/**
 * Reads an event of any version up to the current one of its type.
 *
 * @throws {Undecodable} if it is not a CloudEvent, if its data has another shape, or if its type or version is unknown
 *   and it is not marked ignorable
 */
export const decodeEvent = current.decode;

export function createCodec({ versions, versionOf = ({ type }) => versions[type]!, shapes, upcasters }: EventTable) {
  /** By the type as a CloudEvent has it. */
  const readable = new Map<string, { type: string; version: number }>();
  for (const [type, last] of Object.entries(versions)) {
    for (let version = 1; version <= last; version++) readable.set(spelled(type, version), { type, version });
  }
  return { encode, decode };

  function encode(event: RegistryEvent, prevhash: string): Buffer {
    const envelope: Envelope = {
      specversion: '1.0',
      id: event.id,
      source: SOURCE,
      type: spelled(event.type, versionOf(event)),
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
      ...(event.ignorable && { ignorable: true }),
      data: event.data,
    };
    return Buffer.from(JSON.stringify(envelope));
  }

  function decode(body: Uint8Array): Decoded {
    const envelope = parse(Envelope, json(body));
    const known = readable.get(envelope.type);
    if (!known && envelope.ignorable) {
      return { event: null, prevhash: envelope.prevhash, active: parse(AnyData, envelope.data).active };
    }
    if (!known) throw new Undecodable(`this version of Signalbox cannot read its type ${envelope.type}`);
    const data = parse(shapes[known.type]!, upcasted(known.type, known.version, envelope.data));
    return { event: eventFrom(envelope, known.type as EventType, data), prevhash: envelope.prevhash };
  }

  function upcasted(type: string, version: number, data: unknown): unknown {
    try {
      return upcast(type, version, data as Record<string, unknown>, upcasters);
    } catch (cause) {
      throw new Undecodable(`its data has the wrong shape for version ${version}`, { cause });
    }
  }
}

function spelled(type: string, version: number): string {
  return `signalbox.${type}.v${version}`;
}

function eventFrom(envelope: Envelope, type: EventType, data: unknown): RegistryEvent {
  const { id, time, actor, subject: model, requestid: request_id, idempotencykey: key, commandhash } = envelope;
  const event = { type, model, id, time, actor, request_id, data } as RegistryEvent;
  if (key !== undefined && commandhash !== undefined) event.idempotency = { key, command_hash: commandhash };
  if (envelope.ignorable) event.ignorable = true;
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

/** The same bytes without a copy; from the NATS client they are a Buffer already. */
function bufferOf(body: Uint8Array): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new Undecodable(`it has the wrong shape: ${z.prettifyError(result.error)}`, { cause: result.error });
}
