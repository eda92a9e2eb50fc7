import type { Connection } from '../connection.ts';
import type { MessagesBySpeaker, Speaker } from '../codec/check-message.ts';
import { FarmError } from '../core/index.ts';
import type { Message, Role } from '../core/index.ts';
import { closeReason, CLOSE_CODES, peerClosed } from './close-reason.ts';
import { SPEAKER_TO_DIALER, SPEAKER_TO_SERVER } from './dialogue.ts';
import type { AcceptedConnections, DialedConnections } from './dialogue.ts';
import { FrameConnection } from './frame-connection.ts';
import type { FramePort } from './frame-port.ts';

/** Options of {@link inprocPair}. */
export interface InprocOptions {
  /** @default LIMITS.sendBufferBytesMax */
  readonly sendBufferBytesMax?: number;
}

/** Both ends of one connection. */
export interface InprocPair<R extends Role> {
  readonly dialed: DialedConnections[R];
  readonly accepted: AcceptedConnections[R];
}

/**
 * Makes a connection within this process, for tests and simulations: no sockets and no handshake,
 * but the same batches, codec, checks, order and limits as over a network. Frames arrive in a later
 * tick of the event loop.
 *
 * @example
 * const { dialed, accepted } = inprocPair('client');
 * accepted.listen(handlers);
 * dialed.send(release([1, 1]));
 */
export function inprocPair<R extends Role>(role: R, options: InprocOptions = {}): InprocPair<R> {
  const toServer = new InprocPort();
  const toDialer = new InprocPort();
  const dialed = end(toServer, role === 'peer' ? 'worker' : 'scheduler', SPEAKER_TO_DIALER[role]);
  const accepted = end(toDialer, role, SPEAKER_TO_SERVER[role]);
  toServer.attach(dialed, accepted, toDialer);
  toDialer.attach(accepted, dialed, toServer);
  return { dialed, accepted };

  function end(port: InprocPort, name: string, speaker: Speaker): AnyConnection {
    return new FrameConnection<Message, Speaker>(port, {
      peer: `${name} in this process`,
      speaker,
      ...options,
    });
  }
}

type AnyConnection = FrameConnection<Message, Speaker> &
  Connection<MessagesBySpeaker[Speaker], Message>;

/** Carries frames to the other end, which has one as well. */
class InprocPort implements FramePort {
  #own: AnyConnection | undefined;
  #other: AnyConnection | undefined;
  #otherPort: InprocPort | undefined;
  /** Frames on their way to the other end. */
  readonly #sent: (readonly Uint8Array[])[] = [];
  #isMoving = false;
  #isGone = false;
  /** What the other end is told once all that was sent has arrived. */
  #goodbye: FarmError | undefined;
  bufferedBytes = 0;

  attach(own: AnyConnection, other: AnyConnection, otherPort: InprocPort): void {
    this.#own = own;
    this.#other = other;
    this.#otherPort = otherPort;
  }

  send(frame: Uint8Array): void {
    this.#push([frame]);
  }

  sendPieces(head: Uint8Array, rest: Uint8Array): void {
    // The receiver owns the bytes it gets, as over a network.
    this.#push([head, Uint8Array.from(rest)]);
  }

  // The connection keeps what arrives before it is listened to; there is no socket to hold back.
  resume(): void {}

  pause(): void {}

  close(): void {
    this.#say(peerClosed('the peer', CLOSE_CODES.normal, ''));
  }

  abort(reason: FarmError): void {
    this.#drop();
    this.#say(peerClosed('the peer', CLOSE_CODES.policy, closeReason(reason)));
  }

  terminate(): void {
    this.#drop();
    this.#say(peerClosed('the peer', 1006, ''));
  }

  /** Moves one frame per tick to the other end. */
  #move(): void {
    if (this.#isMoving || this.#isGone) return;
    if (this.#sent.length === 0 && this.#goodbye === undefined) return;
    this.#isMoving = true;
    setImmediate(() => {
      this.#isMoving = false;
      this.#step();
    });
  }

  #step(): void {
    if (this.#isGone) return;
    const frame = this.#sent.shift();
    if (frame !== undefined) {
      this.bufferedBytes -= sizeOf(frame);
      this.#other?.receive(frame);
      this.#move();
    } else if (this.#goodbye !== undefined) {
      this.leave(new FarmError('ERR_CLOSED', 'the connection was closed'));
      this.#otherPort?.leave(this.#goodbye);
    }
  }

  #push(frame: readonly Uint8Array[]): void {
    if (this.#isGone) return;
    this.#sent.push(frame);
    this.bufferedBytes += sizeOf(frame);
    this.#move();
  }

  #drop(): void {
    this.#sent.length = 0;
    this.bufferedBytes = 0;
  }

  #say(goodbye: FarmError): void {
    this.#goodbye ??= goodbye;
    this.#move();
  }

  /** The connection is over: nothing moves from here any more, and its owner is told. */
  leave(why: FarmError): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#drop();
    this.#own?.gone(why);
  }
}

function sizeOf(frame: readonly Uint8Array[]): number {
  return frame.reduce((total, piece) => total + piece.byteLength, 0);
}
