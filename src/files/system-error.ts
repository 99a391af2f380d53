import { clause } from '../domain/clause.ts';

// What errors of the operating system, of DNS and of TLS mean, and what to do about them: one place, so that every command
// says the same. They are told apart by their code; texts differ between systems.

interface SystemError extends Error {
  code: string;
  syscall?: string;
  path?: string;
  address?: string;
  hostname?: string;
  port?: number;
}

const OWNER = 'Run this as the user that owns it, or change its owner or mode (chown, chmod).';
const PATH = 'Correct the path.';
const ROOM = 'Make room there, and run this again.';
const FILES = 'Raise the limit of open files (ulimit -n).';
const NAME = 'Correct the host name, or look at DNS on this machine.';
const TLS = 'Write http:// where the server does not speak TLS.';
const TRUST = 'Correct the certificate, or let Node trust its issuer: NODE_EXTRA_CA_CERTS=<file>.';

const MEANINGS: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
  EACCES: ['permission denied', OWNER],
  EPERM: ['not permitted', OWNER],
  EROFS: ['the file system is read-only', 'Mount it writable, or name another folder.'],
  ENOENT: ['there is no such file or folder', PATH],
  ENOTDIR: ['a part of the path is no folder', PATH],
  EISDIR: ['it is a folder, not a file', PATH],
  EEXIST: ['it exists already', PATH],
  ELOOP: ['its links go round in a circle', PATH],
  ENOSPC: ['the disk is full', ROOM],
  EDQUOT: ['the disk quota is used up', ROOM],
  EMFILE: ['too many files are open', FILES],
  ENFILE: ['too many files are open on this machine', FILES],
  EADDRINUSE: ['the port is in use', 'Stop the program that listens there (lsof -i names it), or choose another PORT.'],
  EADDRNOTAVAIL: ['this machine has no such address', 'Choose another HOST.'],
  ECONNREFUSED: ['nothing listens there', 'Start it, or correct the address.'],
  ECONNRESET: ['the connection was cut', 'Look at the server’s log, and try again.'],
  EHOSTUNREACH: ['the host cannot be reached', 'Look at the network of this machine.'],
  ENETUNREACH: ['the network cannot be reached', 'Look at the network of this machine.'],
  ETIMEDOUT: ['there was no answer in time', 'Look at the address, and at the firewalls on the way.'],
  UND_ERR_CONNECT_TIMEOUT: ['there was no answer in time', 'Look at the address, and at the firewalls on the way.'],
  ENOTFOUND: ['the host name is unknown', NAME],
  EAI_AGAIN: ['the host name cannot be looked up now', NAME],
  ERR_SSL_WRONG_VERSION_NUMBER: ['the server does not speak TLS', TLS],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: ['the server does not speak TLS', TLS],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['its certificate is self-signed', TRUST],
  SELF_SIGNED_CERT_IN_CHAIN: ['the issuer of its certificate is not trusted', TRUST],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['the issuer of its certificate is not trusted', TRUST],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['the issuer of its certificate is not trusted', TRUST],
  CERT_HAS_EXPIRED: ['its certificate has expired', TRUST],
  ERR_TLS_CERT_ALTNAME_INVALID: ['its certificate is for another host', TRUST],
};

/** What failed, by the system call that did. */
const FAILED: Readonly<Record<string, string>> = {
  open: 'cannot be opened',
  read: 'cannot be read',
  scandir: 'cannot be read',
  opendir: 'cannot be read',
  stat: 'cannot be read',
  lstat: 'cannot be read',
  access: 'cannot be used',
  mkdir: 'cannot be made',
  mkdtemp: 'cannot be made',
  write: 'cannot be written',
  connect: 'cannot be reached',
  getaddrinfo: 'cannot be reached',
};

/** What an error says, in words and without a full stop; of fetch and NATS, which only say that it failed, what their cause says. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return clause(String(error));
  const system = systemCauseOf(error);
  if (system) return `${MEANINGS[system.code]![0]} (${system.code})`;
  const deepest = error.cause instanceof Error ? error.cause : error;
  return clause(deepest.message || (deepest as NodeJS.ErrnoException).code || error.message);
}

/** What to do about it; null where its code says nothing. */
export function remedyOf(error: unknown): string | null {
  const system = systemCauseOf(error);
  if (!system) return null;
  if (system.code === 'EACCES' && system.syscall === 'listen') {
    return 'Choose a port from 1024 on, or let this user listen below.';
  }
  return MEANINGS[system.code]![1];
}

/** An error's message; of the system's own, which names a call and a code, a sentence. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!isSystemError(error)) return error.message;
  const { syscall = '', path, hostname, address, port } = error;
  const host = hostname ?? address;
  const where = path ?? (host === undefined ? syscall : port === undefined ? host : `${host}:${port}`);
  if (syscall === 'listen') return `Nothing can listen on ${where}: ${reasonOf(error)}.`;
  return `${where} ${FAILED[syscall] ?? `fails (${syscall})`}: ${reasonOf(error)}.`;
}

function systemCauseOf(error: unknown): SystemError | null {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (isSystemError(cause)) return cause;
  return null;
}

/** Whether it is the system's own error, which has a code and no words for people. */
export function isSystemError(error: unknown): error is SystemError {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  return code !== undefined && Object.hasOwn(MEANINGS, code);
}
