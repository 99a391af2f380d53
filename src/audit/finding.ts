/** What an event was held against when it did not fit. */
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

/** The first thing in a model's events (or, with no model, in the whole log) that does not fit what came before it. */
export interface Finding {
  revision: number;
  model: string | null;
  check: Check;
  /** A sentence. */
  what: string;
  expected: unknown;
  actual: unknown;
  /** How many later messages of the model were not looked at, since what they say would mean nothing. */
  unchecked: number;
}

/** Something in an event that does not fit. */
export class Misfit extends Error {
  override readonly name = 'Misfit';
  readonly check: Check;
  readonly expected: unknown;
  readonly actual: unknown;

  constructor(check: Check, what: string, expected: unknown = null, actual: unknown = null) {
    super(what);
    this.check = check;
    this.expected = expected;
    this.actual = showable(actual);
  }
}

const MAX_SHOWN = 2000;

/** What somebody wrote into a log can be too long to show, and nested too deeply to be told at all. */
function showable(value: unknown): unknown {
  try {
    const json = JSON.stringify(value) ?? '';
    return json.length <= MAX_SHOWN ? value : `${json.slice(0, MAX_SHOWN)}…`;
  } catch {
    return 'something nested too deeply to show';
  }
}
