import { isUtf8 } from 'node:buffer';
import { sha256Hex } from '../../domain/digest.ts';
import { modelOf } from '../../log/stream.ts';
import type { RawMessage } from '../../proof/source.ts';
import { Misfit } from '../finding.ts';
import type { Manifest } from './manifest.ts';
import { checkData, isName, isObject } from './shape.ts';

/** Facts about what an environment runs. */
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
  /** RFC 3339, and the same in milliseconds. */
  time: string;
  at: number;
  actor: string;
  request_id: string;
  prevhash: string;
  /** SHA-256 of the body, in hexadecimal. */
  hash: string;
}

interface Said<T extends string, D> extends Envelope {
  type: T;
  data: D & { active: ActiveMap };
}

interface Moving {
  environment: string;
  previous: string | null;
  reason: string | null;
}

export type Published = Said<
  'version.published',
  { version: string; manifest: Manifest; manifest_digest: string; notes: string }
>;
export type Activated = Said<
  'version.activated',
  Moving & { version: string; runtime_checked: boolean; forced?: boolean }
>;
export type RolledBack = Said<
  'version.rolled_back',
  Moving & { version: string | null; reverts: number[]; runtime_checked: boolean; overridden?: string[] }
>;
export type Deactivated = Said<'version.deactivated', Moving & { version: null }>;
export type Archived = Said<'version.archived' | 'version.restored', { version: string; reason: string | null }>;
export type Noted = Said<'notes.changed', { version: string; notes: string }>;
export type Declared = Said<'runtime.declared', { environment: string; runtime: Runtime }>;
export type Move = Activated | RolledBack | Deactivated;
export type AuditEvent = Published | Move | Archived | Noted | Declared;
/** An event of a type that is not known here and that says of itself that it may be passed over. */
export type PassedOver = Envelope & { type: null };

/** By its type: other events may have fields that are not known here. */
export function isMove(event: AuditEvent): event is Move {
  const { type } = event;
  return type === 'version.activated' || type === 'version.rolled_back' || type === 'version.deactivated';
}

const TYPE = /^signalbox\.(.+)\.v1$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

/** What a message says, by itself: whether that follows from the messages before it is another matter. @throws {Misfit} */
export function readEvent({ revision, subject, body }: RawMessage): AuditEvent | PassedOver {
  const model = modelOf(subject);
  if (!isName(model)) throw new Misfit('subject', `${model} is not the name of a model.`);
  const said = parse(body);
  checkEnvelope(said);
  if (said.subject !== model) throw new Misfit('subject', 'It is about another model.', model, said.subject);
  const { time, actor, requestid: request_id, prevhash } = said as Record<string, string>;
  const at = timeOf(time!);
  const envelope = { revision, model, time, at, actor, request_id, prevhash, hash: sha256Hex(body) } as Envelope;
  const type = TYPE.exec(said.type as string)?.[1];
  if (type !== undefined && checkData(type, said.data)) return { ...envelope, type, data: said.data } as AuditEvent;
  if (said.ignorable === true) return { ...envelope, type: null };
  throw new Misfit('type', 'Its type is not known here, and it may not be passed over.', null, said.type);
}

function parse(body: Buffer): Record<string, unknown> {
  if (!isUtf8(body)) throw new Misfit('encoding', 'It is not UTF-8.');
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    throw new Misfit('encoding', 'It is not JSON.', null, body.toString('utf8', 0, 60));
  }
  if (isObject(value)) return value;
  throw new Misfit('shape', 'It is no JSON object.');
}

/** CloudEvents 1.0 in structured mode, with the registry's own extensions. */
function checkEnvelope(said: Record<string, unknown>): void {
  expectThat(said.specversion === '1.0', said, 'specversion', '1.0');
  for (const name of ['id', 'source', 'type', 'subject', 'time', 'actor', 'requestid', 'prevhash'] as const) {
    expectThat(typeof said[name] === 'string', said, name, 'a string');
  }
  expectThat(said.id !== '', said, 'id', 'not empty');
  for (const name of ['datacontenttype', 'idempotencykey', 'commandhash'] as const) {
    expectThat(said[name] === undefined || typeof said[name] === 'string', said, name, 'a string');
  }
  expectThat(said.ignorable === undefined || typeof said.ignorable === 'boolean', said, 'ignorable', 'true or false');
}

function expectThat(holds: boolean, said: Record<string, unknown>, name: string, expected: string): void {
  if (!holds) throw new Misfit('shape', `Its ${name} is wrong.`, expected, said[name] ?? null);
}

/** In milliseconds. @throws {Misfit} */
function timeOf(time: string): number {
  const at = TIME.test(time) ? Date.parse(time) : Number.NaN;
  // JavaScript takes 30 February for 2 March.
  const isDay = Number(time.slice(8, 10)) <= 28 || new Date(at || 0).toISOString().slice(0, 10) === time.slice(0, 10);
  if (!Number.isNaN(at) && isDay) return at;
  throw new Misfit('shape', 'Its time is wrong.', 'a time, RFC 3339 in UTC', time);
}
