/** The methods of a logger that a loader calls; pino has them. */
export interface LoaderLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Writes warnings and errors to standard error. */
export const consoleLog: LoaderLog = {
  debug() {},
  info() {},
  warn: (fields, message) => console.warn(`signalbox: ${message}`, fields),
  error: (fields, message) => console.error(`signalbox: ${message}`, fields),
};
