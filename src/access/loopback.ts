import { isIPv4 } from 'node:net';

/** Whether what is sent there stays on this machine; a name that only begins like such an address is anybody's. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return bare === 'localhost' || bare === '::1' || (isIPv4(bare) && bare.startsWith('127.'));
}
