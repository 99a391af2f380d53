/**
 * Every problem that Signalbox reports: its code, its HTTP status and its title. Over HTTP, a `Problem` becomes a problem
 * document (RFC 9457); in the CLI, it becomes an exit code. Callers compare `code`, never the text.
 */
const problems = {
  'invalid-request': [400, 'The request is not valid'],
  'checksum-mismatch': [400, 'The bytes are not the ones announced'],
  unauthenticated: [401, 'A valid token is needed'],
  forbidden: [403, 'The token does not allow this'],
  'foreign-origin': [403, 'The request comes from another site'],
  'reference-not-allowed': [403, 'The registry may not read from that address'],
  'unknown-model': [404, 'There is no such model'],
  'unknown-version': [404, 'There is no such version'],
  'unknown-environment': [404, 'There is no such environment'],
  'unknown-blob': [404, 'There is no such blob'],
  'unknown-key': [404, 'There is no such API key'],
  'no-active-version': [404, 'No version is active'],
  'not-found': [404, 'There is nothing here'],
  'method-not-allowed': [405, 'This address does not take that method'],
  'version-exists': [409, 'The version was published before with other content'],
  'already-active': [409, 'The version is active already'],
  'active-changed': [409, 'Another version is active than expected'],
  'version-archived': [409, 'The version is archived'],
  'version-active': [409, 'The version is active'],
  'nothing-to-roll-back': [409, 'There is nothing to roll back'],
  'artifact-missing': [409, 'Bytes of the version are not in the store'],
  'mismatching-upload-offset': [409, 'The upload goes on at another offset'],
  'reference-changed': [409, 'The object that the version refers to is gone or changed'],
  conflict: [409, 'Other commands kept getting in first'],
  'log-corrupt': [409, 'The log of this model cannot be followed'],
  'upgrade-pending': [409, 'Another server must be upgraded first'],
  'too-large': [413, 'The body is too large'],
  'unsupported-media-type': [415, 'The body has the wrong content type'],
  'range-not-satisfiable': [416, 'The range lies outside the file'],
  'runtime-mismatch': [422, 'The declared runtime cannot load the version'],
  'idempotency-key-reused': [422, 'The idempotency key was used for another command'],
  'too-many-activations': [429, 'Too many activations in a minute'],
  'too-many-commands': [429, 'Too many commands in a minute'],
  'too-many-uploads': [429, 'Too many unfinished uploads'],
  'too-many-requests': [429, 'Too many requests'],
  'too-many-attempts': [429, 'Too many credentials that are not valid'],
  internal: [500, 'Something went wrong here'],
  'bad-gateway': [502, 'The registry does not answer as it should'],
  'log-unavailable': [503, 'The log cannot be reached'],
  'list-timeout': [503, 'The list takes too long'],
  'not-caught-up': [503, 'This server has not read that revision yet'],
  'store-unavailable': [503, 'The artifact store cannot be used'],
  'identity-unavailable': [503, 'The identity provider cannot be reached'],
  'outcome-unknown': [503, 'It is not known whether the command was stored'],
  'gateway-timeout': [504, 'The registry does not answer in time'],
  'volume-full': [507, 'The volume is full'],
  'log-full': [507, 'The log is full'],
} as const satisfies Record<string, readonly [status: number, title: string]>;

export type ProblemCode = keyof typeof problems;

/** An error with a stable code; `fields` are the problem document's extension members (snake_case). */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly code: ProblemCode;
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(code: ProblemCode, detail: string, fields: Record<string, unknown> = {}, cause?: unknown) {
    super(detail, cause === undefined ? undefined : { cause });
    this.code = code;
    this.fields = fields;
  }

  get status(): number {
    return problems[this.code][0];
  }

  get title(): string {
    return problems[this.code][1];
  }
}

/** Whether `text` is a code of the table; clients check the responses of servers with it. */
export function isProblemCode(text: unknown): text is ProblemCode {
  return typeof text === 'string' && Object.hasOwn(problems, text);
}

/** The table's entries, for the API's documentation. */
export const problemTable = Object.entries(problems).map(([code, [status, title]]) => ({
  code: code as ProblemCode,
  status,
  title,
}));
