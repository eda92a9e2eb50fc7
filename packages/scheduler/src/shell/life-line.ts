import { connect } from 'node:net';
import type { Socket } from 'node:net';

import { parseAddress } from '@farm/protocol';

/** How long after a connection that broke, or could not be made, the next one is tried. */
const AGAIN_MS = 20;
const AGAIN_UNREACHABLE_MS = 1_000;
/** A connection that is not made within this time tells nothing. */
const CONNECT_MS = 5_000;

/**
 * Watches whether a process that listens at an address is still there, by holding a connection to
 * it: the kernel breaks it when the process ends, however that ends, and then nothing listens there
 * any more. A process that stands still, or cannot be reached, counts as being there.
 *
 * A worker's lost socket alone does not tell a crash from a cut of the network.
 *
 * @param address - Where the worker serves its data. Nothing is said there.
 * @param gone - Called once, when nothing listens there.
 * @returns Stops watching.
 */
export function watchLife(address: string, gone: () => void): () => void {
  const { host, port } = parseAddress(address, { defaultPort: 0 });
  let isOver = false;
  let socket: Socket | undefined;
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    isOver = true;
    clearTimeout(timer);
    socket?.destroy();
  };
  const look = (): void => {
    let isRefused = false;
    /** Something answered, if only to break the connection: what it is about to say, it says soon. */
    let wasThere = false;
    socket = connect({ host, port, timeout: CONNECT_MS });
    // What the worker says while it waits for a hello that does not come is of no interest.
    socket.resume();
    socket.once('connect', () => {
      wasThere = true;
      socket?.setTimeout(0);
    });
    socket.once('timeout', () => socket?.destroy());
    socket.on('error', (error: Error & { readonly code?: string }) => {
      isRefused = error.code === 'ECONNREFUSED';
      wasThere ||= error.code === 'ECONNRESET';
    });
    socket.once('close', () => {
      if (isOver) return;
      if (isRefused) {
        stop();
        gone();
        return;
      }
      timer = setTimeout(look, wasThere ? AGAIN_MS : AGAIN_UNREACHABLE_MS);
    });
  };
  look();
  return stop;
}
