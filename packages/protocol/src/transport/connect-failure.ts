import { formatAddress } from '../address.ts';
import type { Address } from '../address.ts';
import { FarmError } from '../core/index.ts';

/** Says in a {@link FarmError} why an address could not be connected to, and what to check. */
export function connectFailure(
  address: Address,
  error: Error & { readonly code?: string },
): FarmError {
  const shown = formatAddress(address);
  const { code = '' } = error;
  if (code.startsWith('HPE_') || code.startsWith('WS_ERR_') || code === 'EPROTO') {
    return new FarmError('ERR_PROTOCOL', `what answers at ${shown} is not a farm process`, {
      cause: error,
    });
  }
  const problem = problemOf(code, address) ?? (error.message === '' ? code : error.message);
  return new FarmError('ERR_CONNECT', `cannot connect to ${shown}: ${problem}`, { cause: error });
}

/** The same where nothing happened in time. */
export function connectTimeout(address: Address, timeoutMs: number): FarmError {
  const shown = formatAddress(address);
  return new FarmError(
    'ERR_CONNECT',
    `cannot connect to ${shown}: no answer within ${timeoutMs} ms; is the address right, ` +
      'and does no firewall stand between?',
  );
}

function problemOf(code: string, { host, port }: Address): string | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return `nothing listens on port ${port} there; is it running, and on this port?`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host name ${host} is not known`;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `there is no route to ${host}`;
    case 'ETIMEDOUT':
      return `${host} does not answer; does no firewall stand between?`;
    case 'ECONNRESET':
    case 'EPIPE':
      return 'it closed the connection; is it shutting down, or does it expect TLS?';
    default:
      return undefined;
  }
}
