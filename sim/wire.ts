/** What travels between simulated processes, some of it through the production codec. */
import { checkMessage, decodeBatch, encodeBatch } from '@farm/protocol';
import type { BulkFrame, Message } from '@farm/protocol';

import type { Random } from './prng.ts';
import type { End } from './connection-end.ts';

/** One thing said. */
export type Payload =
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'bulk'; readonly frame: BulkFrame };

/** The end of a connection between simulated processes. */
export type WireEnd = End<Payload>;

/** Who speaks, as the codec's checks know it. */
export type Speaker = Parameters<typeof checkMessage>[1];

/**
 * Says messages on connections. A share of them is encoded, decoded and checked on the way, so that
 * what cores say is what the wire can carry.
 */
export class Wire {
  readonly #random: Random;
  readonly #codecShare: number;

  constructor(random: Random, codecShare: number) {
    this.#random = random;
    this.#codecShare = codecShare;
  }

  /**
   * Says a message.
   *
   * @throws FarmError `ERR_PROTOCOL` where the speaker may not say this.
   */
  send(end: WireEnd | undefined, speaker: Speaker, message: Message): void {
    if (end === undefined || end.isClosed) return;
    end.send({ kind: 'message', message: this.#carry(speaker, message) });
  }

  /** Sends bytes. */
  sendBulk(end: WireEnd | undefined, frame: BulkFrame): void {
    end?.send({ kind: 'bulk', frame });
  }

  #carry(speaker: Speaker, message: Message): Message {
    if (!this.#random.chance(this.#codecShare)) return message;
    const [decoded] = decodeBatch(Uint8Array.from(encodeBatch([message])));
    checkMessage(decoded, speaker);
    return decoded;
  }
}
