/**
 * Returns a message without its full stop, so that it can be part of another sentence: `${clause(message)}.` ends with one.
 * Messages of Node, NATS, servers and users come with or without a full stop.
 */
export function clause(message: string): string {
  const text = message.trimEnd();
  return text.endsWith('.') ? text.slice(0, -1) : text;
}
