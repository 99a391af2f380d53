/** The check that an event failed. */
export type Check =
  | 'revisions'
  | 'subject'
  | 'encoding'
  | 'shape'
  | 'type'
  | 'chain'
  | 'time'
  | 'rules'
  | 'manifest'
  | 'active';

/** The first violation in a model's events or, if `model` is null, a gap in the revisions of the log. */
export interface Finding {
  revision: number;
  model: string | null;
  check: Check;
  /** The violation, in one or two sentences. */
  what: string;
  expected: unknown;
  actual: unknown;
  /** The number of later messages of the model. They are not checked: the model's state is unknown there. */
  unchecked: number;
}

/** An event that breaks a rule. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly check: Check;
  readonly expected: unknown;
  readonly actual: unknown;

  constructor(check: Check, what: string, expected: unknown = null, actual: unknown = null) {
    super(what);
    this.check = check;
    this.expected = expected;
    this.actual = printable(actual);
  }
}

const MAX_PRINTED = 2000;

/** Limits a value from the log: it can be of any length, and nested too deeply for `JSON.stringify`. */
function printable(value: unknown): unknown {
  try {
    const json = JSON.stringify(value) ?? '';
    return json.length <= MAX_PRINTED ? value : `${json.slice(0, MAX_PRINTED)}…`;
  } catch {
    return '(nested too deeply to print)';
  }
}
