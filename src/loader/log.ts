/** Where a loader tells what happens; pino is one, and so are many others. */
export interface LoaderLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Standard error, for what somebody should look at. */
export const consoleLog: LoaderLog = {
  debug() {},
  info() {},
  warn: (fields, message) => console.warn(`signalbox: ${message}`, fields),
  error: (fields, message) => console.error(`signalbox: ${message}`, fields),
};
