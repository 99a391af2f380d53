/**
 * A message as a part of another sentence, without a full stop of its own: `${clause(message)}.` ends in one, not two.
 * Messages come from Node, NATS, servers and people, with or without it.
 */
export function clause(message: string): string {
  const text = message.trimEnd();
  return text.endsWith('.') ? text.slice(0, -1) : text;
}
