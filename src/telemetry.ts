import pino, { type Logger } from 'pino';

/** One JSON line for each thing worth telling, on standard error: standard output is for what was asked for. */
export function createLogger(level = 'info'): Logger {
  return pino({ level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2));
}
