import type { BulkFrame } from '../connection.ts';
import { decodeBatch } from '../codec/batch.ts';
import { decodeBulk, isBulk } from '../codec/bulk.ts';
import { checkMessage } from '../codec/check-message.ts';
import type { MessagesBySpeaker, Speaker } from '../codec/check-message.ts';
import { FarmError } from '../core/index.ts';

/** What a frame holds. */
export type FrameContents<S extends Speaker> =
  | { readonly kind: 'bulk'; readonly bulk: BulkFrame }
  | { readonly kind: 'messages'; readonly messages: readonly MessagesBySpeaker[S][] };

/**
 * Decodes a frame that arrived in one or more pieces, and checks that the speaker may send what it
 * holds.
 *
 * @throws What {@link asProtocolError} makes a `FarmError` of, where the frame is malformed.
 */
export function decodeFrame<S extends Speaker>(
  pieces: readonly Uint8Array[],
  speaker: S,
): FrameContents<S> {
  const [first = EMPTY, ...rest] = pieces;
  if (isBulk(first)) {
    // A client only asks for values, it never sends one this way.
    if (speaker === 'client') throw new FarmError('ERR_PROTOCOL', 'unasked bulk frame');
    return { kind: 'bulk', bulk: decodeBulk(first, rest) };
  }
  const values = decodeBatch(rest.length === 0 ? first : Buffer.concat(pieces));
  return { kind: 'messages', messages: checked(values, speaker) };
}

/** Why a frame was refused, as the peer is told it. */
export function asProtocolError(error: unknown): FarmError {
  if (error instanceof FarmError) return error;
  return new FarmError('ERR_PROTOCOL', 'malformed frame', { cause: error });
}

const EMPTY = new Uint8Array(0);

function checked<S extends Speaker>(
  values: readonly unknown[],
  speaker: S,
): readonly MessagesBySpeaker[S][] {
  for (const value of values) checkMessage(value, speaker);
  // SAFE: every value was checked just now. Without the cast the union is too much for the compiler.
  // oxlint-disable-next-line typescript/no-unnecessary-type-assertion
  return values as readonly MessagesBySpeaker[S][];
}
