import { existsSync, readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';

import { FarmError } from './core/errors.ts';
import { quote } from './quote.ts';

/** The network interfaces that are up and have an address, as `os.networkInterfaces()` lists them. */
export type NetworkInterfaces = Readonly<
  Record<string, readonly Pick<NetworkInterfaceInfo, 'address' | 'family'>[] | undefined>
>;

/** Options of {@link interfaceAddress}. */
export interface InterfaceAddressOptions {
  /**
   * The address family wanted.
   * @default IPv4 where the interface has one, else IPv6
   */
  readonly family?: 4 | 6;
  /** @default the host's */
  readonly interfaces?: NetworkInterfaces;
  /**
   * Where the kernel lists every interface, also those without address.
   * @default '/sys/class/net'
   */
  readonly kernelDirectory?: string;
}

/**
 * The IP address of a network interface, for `--interface ib0`.
 *
 * Link-local IPv6 addresses are never given: nobody can dial them without naming an interface of
 * their own.
 *
 * @throws FarmError `ERR_ARGUMENT` where there is no such interface (the message lists those there
 * are), where it is down, and where it has no address of the family.
 *
 * @example
 * interfaceAddress('lo'); // '127.0.0.1'
 */
export function interfaceAddress(name: string, options: InterfaceAddressOptions = {}): string {
  const { family, interfaces = networkInterfaces() } = options;
  const { kernelDirectory = '/sys/class/net' } = options;
  const infos = Object.hasOwn(interfaces, name) ? (interfaces[name] ?? []) : [];
  const usable = infos.filter((info) => !isLinkLocal(info.address));
  const ofFamily = (wanted: 4 | 6): string | undefined => {
    return usable.find((info) => info.family === `IPv${wanted}`)?.address;
  };
  const address = family === undefined ? (ofFamily(4) ?? ofFamily(6)) : ofFamily(family);
  if (address !== undefined) return address;

  const names = Object.keys(interfaces).toSorted().join(', ');
  const advice = `interfaces with an address: ${names === '' ? 'none' : names}`;
  if (infos.length > 0) {
    const has = infos.map((info) => info.address).join(', ');
    const wanted = family === undefined ? 'usable' : `IPv${family}`;
    throw refusal(`${quote(name)} has no ${wanted} address, only ${has}; ${advice}`);
  }
  const flags = kernelFlags(name, kernelDirectory);
  if (flags === undefined) {
    throw refusal(`there is no network interface ${quote(name)}; ${advice}`);
  }
  const isUp = (flags & IFF_UP) !== 0;
  const problem = isUp ? 'is up but has no address' : 'is down';
  throw refusal(`the network interface ${quote(name)} ${problem}; ${advice}`);
}

/**
 * Whether an address never leaves this host: `127.0.0.0/8`, `::1` (also in brackets, also as
 * IPv4-mapped IPv6) and the name `localhost`.
 */
export function isLoopback(address: string): boolean {
  const bare = address.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (bare === 'localhost' || bare.endsWith('.localhost')) return true;
  if (isIPv6(bare) && /^[0:]*:0*1$/.test(bare)) return true;
  return /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bare);
}

/** Every IP address of this host, loopback included, without link-local IPv6. */
export function localAddresses(
  interfaces: NetworkInterfaces = networkInterfaces(),
): readonly string[] {
  return Object.values(interfaces)
    .flatMap((infos) => infos ?? [])
    .map((info) => info.address)
    .filter((address) => !isLinkLocal(address));
}

/** Linux `net_device_flags`: the interface is administratively up. */
const IFF_UP = 1;

/** The flags of an interface the kernel knows, undefined where it does not know it. */
function kernelFlags(name: string, directory: string): number | undefined {
  // A name with a slash would lead out of the directory; the kernel allows none.
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) return undefined;
  if (!existsSync(`${directory}/${name}`)) return undefined;
  try {
    return Number.parseInt(readFileSync(`${directory}/${name}/flags`, 'utf8'), 16);
  } catch {
    return undefined;
  }
}

function isLinkLocal(address: string): boolean {
  return /^fe[89ab][\da-f]:/i.test(address);
}

function refusal(message: string): FarmError {
  return new FarmError('ERR_ARGUMENT', message);
}
