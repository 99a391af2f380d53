import { isIPv4 } from 'node:net';

/** Whether the host is this machine. A name that only begins like a loopback address, such as 127.example.org, is not. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return bare === 'localhost' || bare === '::1' || (isIPv4(bare) && bare.startsWith('127.'));
}
