import type { FarmError } from '../core/index.ts';

/**
 * What a connection needs of whatever carries its frames to the peer, in order. One port has one
 * connection, which it tells about arriving frames (`receive`) and its end (`gone`).
 */
export interface FramePort {
  /** Bytes given to `send` and not yet to the kernel. */
  readonly bufferedBytes: number;
  /** Sends one frame. The bytes stay untouched until they are gone. */
  send(frame: Uint8Array): void;
  /** Sends one frame that consists of two pieces, without copying the second where it is large. */
  sendPieces(head: Uint8Array, rest: Uint8Array): void;
  /** Lets frames arrive; none do before. */
  resume(): void;
  /** Holds frames back again. */
  pause(): void;
  /** Sends what is queued, says goodbye, closes; then `gone`. */
  close(): void;
  /** Tells the peer the reason without waiting for what is queued, and closes; then `gone`. */
  abort(reason: FarmError): void;
  /** Closes at once; then `gone`. */
  terminate(): void;
  /** Keeps the process alive, where the port can: the default. */
  ref?(): void;
  /** Lets the process end although the port is open. */
  unref?(): void;
}
