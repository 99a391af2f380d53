import { isUtf8 } from 'node:buffer';
import { sha256Hex } from '../../domain/digest.ts';
import { modelOf } from '../../log/stream.ts';
import type { RawMessage } from '../../proof/source.ts';
import { Violation } from '../finding.ts';
import type { Manifest } from './manifest.ts';
import { isName, isObject, readData, type Types } from './shape.ts';

/** The runtime that is declared for an environment. */
export interface Runtime {
  python?: string;
  packages?: Record<string, string>;
  node?: string;
  npm?: Record<string, string>;
}

export interface Pointer {
  version: string;
  manifest_digest: string;
  published_revision: number;
  revision?: number;
}
export type ActiveMap = Record<string, Pointer | null>;

interface Envelope {
  revision: number;
  model: string;
  /** RFC 3339, and the same in milliseconds since 1970. */
  time: string;
  at: number;
  actor: string;
  request_id: string;
  prevhash: string;
  /** SHA-256 of the body, in hexadecimal. */
  hash: string;
}

interface EventOf<T extends string, D> extends Envelope {
  type: T;
  data: D & { active: ActiveMap };
}

interface Moving {
  environment: string;
  previous: string | null;
  reason: string | null;
}

export type Published = EventOf<
  'version.published',
  { version: string; manifest: Manifest; manifest_digest: string; notes: string }
>;
export type Activated = EventOf<
  'version.activated',
  Moving & { version: string; runtime_checked: boolean; forced?: boolean }
>;
export type RolledBack = EventOf<
  'version.rolled_back',
  Moving & { version: string | null; reverts: number[]; runtime_checked: boolean; overridden?: string[] }
>;
export type Deactivated = EventOf<'version.deactivated', Moving & { version: null }>;
export type Archived = EventOf<'version.archived' | 'version.restored', { version: string; reason: string | null }>;
export type Noted = EventOf<'notes.changed', { version: string; notes: string }>;
export type Declared = EventOf<'runtime.declared', { environment: string; runtime: Runtime }>;
export type Move = Activated | RolledBack | Deactivated;
export type AuditEvent = Published | Move | Archived | Noted | Declared;
/** An event of an unknown type or version that is marked ignorable. */
export type Skipped = Envelope & { type: null };

/** Decides by the type: other events may have the same fields, added by a newer writer. */
export function isMove(event: AuditEvent): event is Move {
  const { type } = event;
  return type === 'version.activated' || type === 'version.rolled_back' || type === 'version.deactivated';
}

const TYPE = /^signalbox\.(.+)\.v([1-9]\d*)$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

/**
 * Reads one message by itself; whether it follows from the earlier ones is checked later.
 *
 * @throws {Violation}
 */
export function readEvent({ revision, subject, body }: RawMessage, types?: Types): AuditEvent | Skipped {
  const model = modelOf(subject);
  if (!isName(model)) throw new Violation('subject', `${model} is not a valid model name.`);
  const fields = parse(body);
  checkEnvelope(fields);
  if (fields.subject !== model) throw new Violation('subject', 'It is about another model.', model, fields.subject);
  const { time, actor, requestid: request_id, prevhash } = fields as Record<string, string>;
  const at = timeOf(time!);
  const envelope = { revision, model, time, at, actor, request_id, prevhash, hash: sha256Hex(body) } as Envelope;
  const [, type, version] = TYPE.exec(fields.type as string) ?? [];
  const data = type === undefined ? null : readData(type, Number(version), fields.data, types);
  if (data) return { ...envelope, type, data } as AuditEvent;
  if (fields.ignorable === true) return { ...envelope, type: null };
  const what = 'Its type or the version of its type is unknown, and it is not marked ignorable.';
  throw new Violation('type', what, null, fields.type);
}

function parse(body: Buffer): Record<string, unknown> {
  if (!isUtf8(body)) throw new Violation('encoding', 'It is not UTF-8.');
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    throw new Violation('encoding', 'It is not JSON.', null, body.toString('utf8', 0, 60));
  }
  if (isObject(value)) return value;
  throw new Violation('shape', 'It is not a JSON object.');
}

/** CloudEvents 1.0 in structured mode, with the registry's own extensions. */
function checkEnvelope(fields: Record<string, unknown>): void {
  expectThat(fields.specversion === '1.0', fields, 'specversion', '1.0');
  for (const name of ['id', 'source', 'type', 'subject', 'time', 'actor', 'requestid', 'prevhash'] as const) {
    expectThat(typeof fields[name] === 'string', fields, name, 'a string');
  }
  expectThat(fields.id !== '', fields, 'id', 'not empty');
  for (const name of ['datacontenttype', 'idempotencykey', 'commandhash'] as const) {
    expectThat(fields[name] === undefined || typeof fields[name] === 'string', fields, name, 'a string');
  }
  expectThat(
    fields.ignorable === undefined || typeof fields.ignorable === 'boolean',
    fields,
    'ignorable',
    'true or false',
  );
}

function expectThat(holds: boolean, fields: Record<string, unknown>, name: string, expected: string): void {
  if (!holds) throw new Violation('shape', `Its ${name} is wrong.`, expected, fields[name] ?? null);
}

/** Returns milliseconds since 1970. @throws {Violation} */
function timeOf(time: string): number {
  const at = TIME.test(time) ? Date.parse(time) : Number.NaN;
  // JavaScript reads 30 February as 2 March.
  const isDay = Number(time.slice(8, 10)) <= 28 || new Date(at || 0).toISOString().slice(0, 10) === time.slice(0, 10);
  if (!Number.isNaN(at) && isDay) return at;
  throw new Violation('shape', 'Its time is wrong.', 'a time, RFC 3339 in UTC', time);
}
