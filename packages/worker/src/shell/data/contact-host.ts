import { createSocket } from 'node:dgram';

import { isLoopback, localAddresses, parseAddress } from '@farm/protocol';

/**
 * The address of this machine from which it reaches a host: where others that reach that host most
 * likely reach this machine. Nothing is sent: the kernel only looks up its route.
 *
 * @param towards - Host name or IP address of the scheduler.
 */
export async function outgoingHost(towards: string): Promise<string> {
  if (isLoopback(towards)) return '127.0.0.1';
  return (
    (await routeTo(towards)) ?? localAddresses().find((host) => !isLoopback(host)) ?? '127.0.0.1'
  );
}

/** Whether what comes from an address crosses a network, as far as can be told. */
export function isElsewhere(address: string): boolean {
  const { host } = parseAddress(address, { defaultPort: 1 });
  return !isLoopback(host) && !localAddresses().includes(host);
}

async function routeTo(host: string): Promise<string | undefined> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  try {
    return await new Promise<string>((resolve, reject) => {
      socket.once('error', reject);
      // Any port does; it is never sent to.
      socket.connect(9, host, () => resolve(socket.address().address));
    });
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}
