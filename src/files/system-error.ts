import { clause } from '../domain/clause.ts';

// Reasons and remedies for errors of the operating system, DNS and TLS, so that every command prints the same text. The
// code identifies an error, as the texts differ between systems.

interface SystemError extends Error {
  code: string;
  syscall?: string;
  path?: string;
  address?: string;
  hostname?: string;
  port?: number;
}

const OWNER = 'Run this command as the owner, or change the owner or mode (chown, chmod).';
const PATH = 'Correct the path.';
const ROOM = 'Free some space, and run this command again.';
const FILES = 'Raise the limit for open files (ulimit -n).';
const NAME = 'Correct the host name, or check DNS on this machine.';
const TLS = 'Use http:// if the server does not use TLS.';
const TRUST = 'Correct the certificate, or make Node trust its issuer with NODE_EXTRA_CA_CERTS=<file>.';
const TIMEOUT = ['the connection timed out', 'Check the address and the firewalls in between.'] as const;

const MEANINGS: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
  EACCES: ['permission denied', OWNER],
  EPERM: ['not permitted', OWNER],
  EROFS: ['the file system is read-only', 'Mount it writable, or use another folder.'],
  ENOENT: ['no such file or folder', PATH],
  ENOTDIR: ['a part of the path is not a folder', PATH],
  EISDIR: ['it is a folder, not a file', PATH],
  EEXIST: ['it already exists', PATH],
  ELOOP: ['its links form a loop', PATH],
  ENOSPC: ['the disk is full', ROOM],
  EDQUOT: ['the disk quota is used up', ROOM],
  EMFILE: ['too many files are open', FILES],
  ENFILE: ['too many files are open on this machine', FILES],
  EADDRINUSE: ['the port is in use', 'Stop the program that uses it (lsof -i shows it), or set another PORT.'],
  EADDRNOTAVAIL: ['this machine does not have this address', 'Set another HOST.'],
  ECONNREFUSED: ['nothing listens there', 'Start the server, or correct the address.'],
  ECONNRESET: ['the connection was closed', 'Check the log of the server, and try again.'],
  EHOSTUNREACH: ['the host cannot be reached', 'Check the network of this machine.'],
  ENETUNREACH: ['the network cannot be reached', 'Check the network of this machine.'],
  ETIMEDOUT: TIMEOUT,
  UND_ERR_CONNECT_TIMEOUT: TIMEOUT,
  ENOTFOUND: ['the host name is unknown', NAME],
  EAI_AGAIN: ['the host name cannot be resolved at the moment', NAME],
  ERR_SSL_WRONG_VERSION_NUMBER: ['the server does not use TLS', TLS],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: ['the server does not use TLS', TLS],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['its certificate is self-signed', TRUST],
  SELF_SIGNED_CERT_IN_CHAIN: ['the issuer of its certificate is not trusted', TRUST],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['the issuer of its certificate is not trusted', TRUST],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['the issuer of its certificate is not trusted', TRUST],
  CERT_HAS_EXPIRED: ['its certificate has expired', TRUST],
  ERR_TLS_CERT_ALTNAME_INVALID: ['its certificate is for another host', TRUST],
};

/** What failed, by system call. */
const FAILED: Readonly<Record<string, string>> = {
  open: 'cannot be opened',
  read: 'cannot be read',
  scandir: 'cannot be read',
  opendir: 'cannot be read',
  stat: 'cannot be read',
  lstat: 'cannot be read',
  access: 'cannot be used',
  mkdir: 'cannot be created',
  mkdtemp: 'cannot be created',
  write: 'cannot be written',
  connect: 'cannot be reached',
  getaddrinfo: 'cannot be reached',
};

/** Returns the reason of an error without a full stop. Errors of fetch and NATS have it in their cause. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return clause(String(error));
  const system = systemCauseOf(error);
  if (system) return `${MEANINGS[system.code]![0]} (${system.code})`;
  const deepest = error.cause instanceof Error ? error.cause : error;
  return clause(deepest.message || (deepest as NodeJS.ErrnoException).code || error.message);
}

/** Returns what to do about an error; null if its code is not known here. */
export function remedyOf(error: unknown): string | null {
  const system = systemCauseOf(error);
  if (!system) return null;
  if (system.code === 'EACCES' && system.syscall === 'listen') {
    return 'Use a port of 1024 or higher, or allow this user to listen on lower ports.';
  }
  return MEANINGS[system.code]![1];
}

/** Returns an error's message, or a sentence for a system error, whose message only names a call and a code. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!isSystemError(error)) return error.message;
  const { syscall = '', path, hostname, address, port } = error;
  const host = hostname ?? address;
  const where = path ?? (host === undefined ? syscall : port === undefined ? host : `${host}:${port}`);
  if (syscall === 'listen') return `Cannot listen on ${where}: ${reasonOf(error)}.`;
  return `${where} ${FAILED[syscall] ?? `cannot be used (${syscall})`}: ${reasonOf(error)}.`;
}

function systemCauseOf(error: unknown): SystemError | null {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (isSystemError(cause)) return cause;
  return null;
}

/** Returns whether this is a system error with a known code; its message is not meant for people. */
export function isSystemError(error: unknown): error is SystemError {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  return code !== undefined && Object.hasOwn(MEANINGS, code);
}
