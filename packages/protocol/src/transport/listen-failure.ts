import { formatAddress } from '../address.ts';
import { FarmError } from '../core/index.ts';
import type { Remote } from './ws-server.ts';

/** Says in a {@link FarmError} why an address cannot be listened on, and what to do. */
export function listenFailure(
  { host, port }: Remote,
  error: Error & { readonly code?: string },
): FarmError {
  const address = formatAddress({ secure: false, host: host === '' ? '*' : host, port });
  const problem = problemOf(error.code, host, port) ?? error.message;
  return new FarmError('ERR_ADDRESS', `cannot listen on ${address}: ${problem}`, { cause: error });
}

function problemOf(code: string | undefined, host: string, port: number): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is in use; choose another one, or 0 for any free port`;
    case 'EADDRNOTAVAIL':
      return `${host} is not an address of this machine`;
    case 'EACCES':
      return `this user may not use port ${port}; choose one from 1024`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host name ${host} is not known`;
    default:
      return undefined;
  }
}
