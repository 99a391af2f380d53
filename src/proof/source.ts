/** A stored message, not decoded. */
export interface RawMessage {
  /** Its sequence in the stream. */
  revision: number;
  subject: string;
  /** When NATS stored it, by the clock of the nats-server. */
  stored_at: Date;
  body: Buffer;
}

/** A log that is read from its beginning: a stream, or an exported file. */
export interface LogSource {
  /** Its name in messages. */
  name: string;
  generation: number;
  /** The last revision when the source was opened; 0 for an empty log. */
  head: number;
  /**
   * Yields every message up to `head`, oldest first, in batches of at most some thousand, so memory stays flat.
   *
   * @throws {Error} if the source cannot be read to its end
   */
  batches(): AsyncIterable<RawMessage[]>;
  close(): Promise<void>;
}

/** The log or file is not the history that was written: it was altered, cut or reordered, or it is another log. */
export class HistoryBroken extends Error {
  override readonly name = 'HistoryBroken';
}
