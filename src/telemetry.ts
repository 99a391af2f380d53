import pino, { type Logger } from 'pino';
import { visibleJson } from './domain/visible.ts';

/** Fields that hold secrets, at the top of a line or up to two objects deep. */
const FIELDS = [
  'authorization',
  'Authorization',
  'cookie',
  'set-cookie',
  'x-api-key',
  'token',
  'key',
  'secret',
  'password',
  'pass',
];
const PATHS = FIELDS.flatMap((name) => ['', '*', '*.*'].map((above) => `${above}["${name}"]`));

/** What looks like a secret in any text: who signs in by an address, a credential, an API key, a token. */
const PATTERNS =
  /(?<=:\/\/)[^\s/"]+(?=@)|(?<=\bbearer\s+)[\w.~+/=-]+|(?<=\bbasic\s+)[\w+/=-]{8,}|\bsb[a-z]_[\w-]+|\beyJ[\w-]*(\.[\w-]*){2,4}/gi;
const CENSOR = '[redacted]';

/**
 * One JSON line for each thing worth telling, on standard error: standard output is for what was asked for. Secrets are
 * taken out, by the name of their field and by their looks; what cannot be seen is escaped.
 */
export function createLogger(level = 'info', destination: pino.DestinationStream = pino.destination(2)): Logger {
  const options = {
    level,
    base: undefined,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: PATHS, censor: CENSOR },
    hooks: { streamWrite: (line: string) => visibleJson(line.replace(PATTERNS, CENSOR)) },
  };
  return pino(options, destination);
}
