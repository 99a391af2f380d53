import pino, { type Logger } from 'pino';
import { visibleJson } from './domain/visible.ts';

/** Fields that hold secrets, at the top of a log line or up to two objects deep. */
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

/** Text that looks like a secret: user and password in a URL, a credential, an API key, a token. */
const PATTERNS =
  /(?<=:\/\/)[^\s/"]+(?=@)|(?<=\bbearer\s+)[\w.~+/=-]+|(?<=\bbasic\s+)[\w+/=-]{8,}|\bsb[a-z]_[\w-]+|\beyJ[\w-]*(\.[\w-]*){2,4}/gi;
const CENSOR = '[redacted]';

/**
 * Creates a logger that writes JSON lines to standard error; standard output is for the output of commands. Secrets are
 * redacted by field name and by pattern, and invisible characters are escaped.
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
