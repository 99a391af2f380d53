/** A message as it is stored, whatever it says. */
export interface RawMessage {
  /** Its place in the stream. */
  revision: number;
  subject: string;
  /** When it was stored, by the clock of NATS. */
  stored_at: Date;
  body: Buffer;
}

/** A log to read from its beginning: a stream, or a file that was exported. */
export interface LogSource {
  /** What to call it in messages to people. */
  name: string;
  generation: number;
  /** The last revision that was there when it was opened; 0 for an empty log. */
  head: number;
  /**
   * Every message up to `head`, oldest first, in batches of up to some thousand; memory stays flat.
   *
   * @throws {Error} where the source cannot be read to its end
   */
  batches(): AsyncIterable<RawMessage[]>;
  close(): Promise<void>;
}

/** What was read cannot be the history that was written: altered, cut, reordered or of another log. */
export class HistoryBroken extends Error {
  override readonly name = 'HistoryBroken';
}
