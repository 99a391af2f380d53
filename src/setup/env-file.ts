import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { VARIABLES } from '../config.ts';
import { clause } from '../domain/clause.ts';
import { isErrno } from '../files/errno.ts';

/** Not allowed in a `.env`: a user who may write to the folder must not choose which program runs there. */
const PROGRAM_VARIABLE = 'NATS_SERVER_BIN';

/**
 * Loads Signalbox's own variables from a `.env`, except those that are already set, even if empty. Other variables are
 * ignored: Compose often uses the same file, and PATH or NODE_OPTIONS would change how programs run.
 *
 * @throws {Error} as `readEnvFile`
 */
export function loadEnvFile(path: string, env: NodeJS.ProcessEnv, warn: (line: string) => void): void {
  const text = textOf(path);
  const variables = parsed(path, text);
  for (const [name, value] of Object.entries(variables)) if (VARIABLES.has(name)) env[name] ??= value;
  if (variables[PROGRAM_VARIABLE] === undefined || env[PROGRAM_VARIABLE] !== undefined) return;
  const line =
    text.split('\n').findIndex((line) => new RegExp(`^\\s*(export\\s+)?${PROGRAM_VARIABLE}\\b`).test(line)) + 1;
  warn(
    `Line ${line} of ${resolve(path)} sets ${PROGRAM_VARIABLE}, which is ignored there because it names a program to run. Set it in the environment.`,
  );
}

/**
 * Reads the variables of a `.env`; an empty object if the file is missing.
 *
 * @throws {Error} if the file cannot be read, or with the number of the first line that is not NAME=value
 */
export function readEnvFile(path: string): Record<string, string | undefined> {
  return parsed(path, textOf(path));
}

function parsed(path: string, text: string): Record<string, string | undefined> {
  const line = invalidLine(text);
  if (line !== null) throw new Error(`Line ${line} of ${resolve(path)} does not have the form NAME=value.`);
  return parseEnv(text);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (isErrno(cause, 'ENOENT', 'ENOTDIR')) return '';
    throw new Error(`${resolve(path)} cannot be read: ${clause((cause as Error).message)}.`, { cause });
  }
}

const ASSIGNMENT = /^[ \t]*(?:export[ \t]+)?[A-Za-z_][\w.-]*[ \t]*=[ \t]*(?:"[^"]*"|'[^']*'|`[^`]*`)?.*$/gm;

/** Finds the first line that Node would silently skip, so that its variable would be missing. */
function invalidLine(text: string): number | null {
  const rest = text.replace(ASSIGNMENT, (assignment) => assignment.replace(/[^\n]+/g, ''));
  const index = rest.split('\n').findIndex((line) => !/^\s*(#|$)/.test(line));
  return index < 0 ? null : index + 1;
}

export interface Variable {
  name: string;
  /** If undefined, the line is written commented out. */
  value: string | undefined;
  comment: string;
}

/** Returns the text of a `.env`. @throws {Error} for a value that cannot be written there */
export function envText(heading: string, variables: readonly Variable[]): string {
  const blocks = variables.map(({ name, value, comment }) => {
    const line = value === undefined ? `#${name}=` : `${name}=${quoted(name, value)}`;
    return `# ${comment}\n${line}\n`;
  });
  return [`# ${heading}\n`, ...blocks].join('\n');
}

/** Quotes a value only if needed: Docker's --env-file takes quotes as part of the value. */
function quoted(name: string, value: string): string {
  if (/^[\w.:/@%+,=~*-]+$/.test(value)) return value;
  const quote = ["'", '"', '`'].find((quote) => !value.includes(quote));
  // In double quotes Node turns \n into a line break.
  if (quote && !/[\n\r\\]/.test(value)) return `${quote}${value}${quote}`;
  throw new Error(`${name} contains characters that cannot be written to a .env.`);
}
