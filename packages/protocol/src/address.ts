import { isIPv4, isIPv6 } from 'node:net';

import { FarmError } from './core/errors.ts';
import { quote } from './quote.ts';

/** Where a farm process listens, or whom to dial. */
export interface Address {
  /** Whether the connection is TLS (`tls://`, `wss://`). */
  readonly secure: boolean;
  /** A host name or an IP address; IPv6 without brackets. Empty: every interface. */
  readonly host: string;
  /** 0 to 65535; 0 only where one listens, and means any free port. */
  readonly port: number;
}

/** Options of {@link parseAddress}. */
export interface ParseAddressOptions {
  /** The port of an address without one. */
  readonly defaultPort: number;
  /**
   * The host of an address without one, as `:8787`.
   * @default '' (every interface) where `listen`, '127.0.0.1' otherwise
   */
  readonly defaultHost?: string;
  /**
   * Whether an address without a scheme is TLS.
   * @default false
   */
  readonly defaultSecure?: boolean;
  /**
   * The address is one to listen on: port 0 is allowed.
   * @default false
   */
  readonly listen?: boolean;
  /**
   * Whether a number alone is a port, as in `--dashboard-address 8787`.
   * @default the value of `listen`
   */
  readonly bare?: boolean;
}

const SECURE_BY_SCHEME: ReadonlyMap<string, boolean> = new Map([
  ['tcp', false],
  ['ws', false],
  ['tls', true],
  ['wss', true],
]);

const HOST_NAME = /^(?=.{1,253}$)[a-z\d_](?:[a-z\d_-]{0,62})(?:\.[a-z\d_][a-z\d_-]{0,62})*\.?$/i;

/**
 * Reads the address of a farm process: `tcp://host:port`, `ws://…`, `tls://…`, `wss://…`, or the
 * same without scheme, without port, without host (`:8787`), with IPv6 in brackets.
 *
 * @throws FarmError `ERR_ADDRESS` for anything else, with an example of what is valid.
 *
 * @example
 * parseAddress('tcp://10.9.0.1:6192', { defaultPort: 8786 });
 * // { secure: false, host: '10.9.0.1', port: 6192 }
 */
export function parseAddress(text: string, options: ParseAddressOptions): Address {
  const { defaultPort, listen = false, bare = listen, defaultSecure = false } = options;
  const { defaultHost = listen ? '' : '127.0.0.1' } = options;
  const refuse = (problem: string): FarmError => {
    const example = `tcp://host:${defaultPort}`;
    return new FarmError(
      'ERR_ADDRESS',
      `${quote(text)} is not an address: ${problem}; for example ${example} or [::1]:${defaultPort}`,
    );
  };

  const trimmed = text.trim();
  if (trimmed === '') throw refuse('it is empty');
  let secure = defaultSecure;
  let rest = trimmed;
  const scheme = /^([^/[\]]*?):\/\//.exec(trimmed)?.[1];
  if (scheme !== undefined) {
    const known = SECURE_BY_SCHEME.get(scheme.toLowerCase());
    if (known === undefined) {
      throw refuse(`its scheme ${quote(scheme)} is not one of tcp, tls, ws, wss`);
    }
    secure = known;
    rest = trimmed.slice(scheme.length + 3);
  }
  if (rest.endsWith('/')) rest = rest.slice(0, -1);
  if (/[/?#]/.test(rest)) throw refuse('a path or query does not belong there');
  if (rest.includes('@')) throw refuse('a user name or token does not belong there');
  if (/^\d+$/.test(rest) && scheme === undefined) {
    if (!bare) throw refuse(`a number alone is unclear, write host:${rest.slice(0, 5)}`);
    rest = `:${rest}`;
  }

  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(rest);
  const plain = /^([^:[\]]*)(?::([^:]*))?$/.exec(rest);
  const [, host = '', portText] = bracketed ?? plain ?? [];
  if (bracketed === null && plain === null) {
    throw refuse(isIPv6(rest) ? 'IPv6 goes in brackets' : 'its host is not valid');
  }
  if (bracketed !== null) {
    if (host.includes('%')) throw refuse('an address with a zone cannot be dialled');
    if (!isIPv6(host)) throw refuse(`${quote(host)} is not an IPv6 address`);
  } else if (host !== '' && !isHost(host)) {
    throw refuse('its host is not valid');
  }
  if (host === '' && portText === undefined) throw refuse('it names no host');

  const port = portText === undefined ? defaultPort : toPort(portText);
  if (port === undefined) throw refuse('its port is not a whole number from 0 to 65535');
  if (port === 0 && !listen) throw refuse('port 0 cannot be dialled');
  return { secure, host: host === '' ? defaultHost : host, port };
}

/**
 * Prints an address in Dask's look: `tcp://host:port`, or `tls://host:port` where secure.
 *
 * @example
 * formatAddress({ secure: false, host: '::1', port: 8786 }); // 'tcp://[::1]:8786'
 */
export function formatAddress(address: Address): string {
  return `${address.secure ? 'tls' : 'tcp'}://${hostAndPort(address)}`;
}

/**
 * The URL under which a WebSocket client dials an address.
 *
 * @param path - Begins with a slash.
 *
 * @example
 * webSocketUrl({ secure: true, host: 'node1', port: 8786 }, '/worker'); // 'wss://node1:8786/worker'
 */
export function webSocketUrl(address: Address, path: string = '/'): string {
  return `${address.secure ? 'wss' : 'ws'}://${hostAndPort(address)}${path}`;
}

/**
 * Reads a port to listen on; 0 is any free port.
 *
 * @throws FarmError `ERR_ARGUMENT` where the text is not a whole number from 0 to 65535.
 */
export function parsePort(text: string): number {
  const port = toPort(text.trim());
  if (port !== undefined) return port;
  throw new FarmError('ERR_ARGUMENT', `${quote(text)} is not a port, a whole number 0 to 65535`);
}

/**
 * Reads a port, or a range of ports to try in turn, both ends included.
 *
 * @throws FarmError `ERR_ARGUMENT` for anything else, and for a range that is empty or has port 0.
 *
 * @example
 * parsePortRange('9000'); // [9000]
 * parsePortRange('9000:9002'); // [9000, 9001, 9002]
 */
export function parsePortRange(text: string): readonly number[] {
  const ends = text.trim().split(':').map(toPort);
  const [first, last = first] = ends;
  if (ends.length > 2 || ends.includes(undefined) || first === undefined || last === undefined) {
    throw new FarmError(
      'ERR_ARGUMENT',
      `${quote(text)} is not a port or a range of ports, for example 9000 or 9000:9010`,
    );
  }
  if (ends.length === 2 && (first === 0 || last < first)) {
    throw new FarmError(
      'ERR_ARGUMENT',
      `${quote(text)} is an empty range of ports, write it as low:high with low at least 1`,
    );
  }
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

function hostAndPort({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function isHost(host: string): boolean {
  // A name whose last label is a number is an IPv4 address (WHATWG URL), and must be a proper one.
  return /(?:^|\.)\d+\.?$/.test(host) ? isIPv4(host) : HOST_NAME.test(host);
}

function toPort(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}
