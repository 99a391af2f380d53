import { lookup as lookupInSystem } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { Problem } from '../../domain/errors.ts';

/** Addresses that are not on the public Internet. IPv4 rules also hold for IPv6 addresses that contain an IPv4 address (::ffff:…). */
const blocked = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8], // this host
  ['10.0.0.0', 8],
  ['100.64.0.0', 10], // behind a provider's address translation
  ['127.0.0.0', 8],
  ['169.254.0.0', 16], // link-local: metadata of clouds
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4],
] as const) {
  blocked.addSubnet(network, prefix, 'ipv4');
}
for (const [network, prefix] of [
  ['::', 96], // unspecified, loopback, and the old form that contains an IPv4 address
  ['64:ff9b::', 96], // translation to IPv4
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23], // tunnels and protocol assignments
  ['2001:db8::', 32],
  ['2002::', 16], // tunnels
  ['fc00::', 7], // unique local
  ['fe80::', 10], // link-local
  ['fec0::', 10],
  ['ff00::', 8], // multicast
] as const) {
  blocked.addSubnet(network, prefix, 'ipv6');
}

/** @param address an IP address */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address.replace(/%.*$/, ''));
  return family !== 0 && !blocked.check(address.replace(/%.*$/, ''), family === 4 ? 'ipv4' : 'ipv6');
}

/** A host of a URL that is an IP address; null if it is a name. */
export function literalOf(hostname: string): string | null {
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(address) === 0 ? null : address;
}

/**
 * Resolves a name as `dns.lookup` does, and refuses it if any of its addresses is not public. The connection is made to the
 * addresses that were checked, so a name that resolves to another address a moment later gets nowhere.
 */
export function publicLookup(resolve: typeof lookupInSystem = lookupInSystem): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '');
      if (addresses.length === 0 || addresses.some(({ address }) => !isPublicAddress(address))) {
        return callback(notPublic(hostname), '');
      }
      if (options.all) return callback(null, addresses);
      callback(null, addresses[0]!.address, addresses[0]!.family);
    });
  };
}

function notPublic(hostname: string): Problem {
  const detail = `${hostname} has an address that is not public. To read from it, allow the address itself.`;
  return new Problem('reference-not-allowed', detail, { host: hostname });
}
