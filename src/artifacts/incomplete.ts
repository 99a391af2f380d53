import { Problem } from '../domain/errors.ts';

/** A body ended early. What arrived of it is right as far as it goes, so an upload can go on from there. */
export class IncompleteBytes extends Problem {
  constructor(cause: unknown) {
    super('invalid-request', 'The body is incomplete or came too slowly. Send it again.', {}, cause);
  }
}
