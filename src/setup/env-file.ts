import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { VARIABLES } from '../config.ts';
import { clause } from '../domain/clause.ts';
import { isErrno } from '../files/errno.ts';

/** Documented, but not for a `.env`: whoever may write files into a folder must not choose what runs there. */
const PROGRAM_VARIABLE = 'NATS_SERVER_BIN';

/**
 * Takes Signalbox's own variables over from a `.env`; those that are set already, even to nothing, stay. Other variables stay
 * out: such a file often belongs to Compose, too, and PATH or NODE_OPTIONS would decide what programs do.
 *
 * @throws {Error} as reading it
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
 * The variables of a `.env`; none where it is not there.
 *
 * @throws {Error} naming the file that cannot be read, or its line that is no variable
 */
export function readEnvFile(path: string): Record<string, string | undefined> {
  return parsed(path, textOf(path));
}

function parsed(path: string, text: string): Record<string, string | undefined> {
  const line = strangeLine(text);
  if (line !== null) throw new Error(`Line ${line} of ${resolve(path)} is not of the form NAME=value.`);
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

/** Node passes over what it does not understand, and the variable would be missing without a word. */
function strangeLine(text: string): number | null {
  const rest = text.replace(ASSIGNMENT, (assignment) => assignment.replace(/[^\n]+/g, ''));
  const index = rest.split('\n').findIndex((line) => !/^\s*(#|$)/.test(line));
  return index < 0 ? null : index + 1;
}

export interface Variable {
  name: string;
  /** Not set where undefined: the line is there, but commented out. */
  value: string | undefined;
  comment: string;
}

/** The text of a `.env`. @throws {Error} for a value that cannot be written there */
export function envText(heading: string, variables: readonly Variable[]): string {
  const blocks = variables.map(({ name, value, comment }) => {
    const line = value === undefined ? `#${name}=` : `${name}=${quoted(name, value)}`;
    return `# ${comment}\n${line}\n`;
  });
  return [`# ${heading}\n`, ...blocks].join('\n');
}

/** As it is where it can be: Docker's --env-file takes quotes for a part of the value. */
function quoted(name: string, value: string): string {
  if (/^[\w.:/@%+,=~*-]+$/.test(value)) return value;
  const quote = ["'", '"', '`'].find((quote) => !value.includes(quote));
  // Within double quotes Node makes \n a line end.
  if (quote && !/[\n\r\\]/.test(value)) return `${quote}${value}${quote}`;
  throw new Error(`${name} has characters that a .env cannot hold.`);
}
