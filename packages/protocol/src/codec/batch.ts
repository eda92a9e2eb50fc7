import { Packr } from 'msgpackr';

import { FarmError } from '../core/index.ts';
import type { Message } from '../core/index.ts';
import { scanPlain } from './scan.ts';
import { SHAPES } from './shapes.ts';

const FIELD_COUNTS: readonly number[] = SHAPES.map((shape) => shape.length);

/** Room for the header of a batch: an array token and a 32-bit count. */
const HEADER_BYTES_MAX = 5;

/**
 * One encoder and decoder serves every connection: its table of shapes never changes, and frames
 * that could change it are refused before they are decoded. `maxOwnStructures: 0` makes unknown
 * shapes travel as maps, `mapsAsObjects` makes them arrive as objects again.
 */
const packr = new Packr({
  structures: SHAPES.map((shape) => [...shape]),
  maxSharedStructures: SHAPES.length,
  maxOwnStructures: 0,
  mapsAsObjects: true,
});

/**
 * Encodes one message, as a part of a batch.
 *
 * @returns Bytes that stay valid, though they share memory with those of other messages.
 */
export function encodeMessage(message: Message): Uint8Array {
  return packr.pack(message);
}

/** Largest size of a batch of `count` messages that take `bytes` bytes together. */
export function batchBytesMax(bytes: number): number {
  return HEADER_BYTES_MAX + bytes;
}

/**
 * Makes a frame of encoded messages.
 *
 * @param encoded - What {@link encodeMessage} returned, in order.
 */
export function joinBatch(encoded: readonly Uint8Array[]): Uint8Array {
  const header = arrayHeader(encoded.length);
  let total = header.length;
  for (const part of encoded) total += part.byteLength;
  const frame = Buffer.allocUnsafe(total);
  frame.set(header, 0);
  let at = header.length;
  for (const part of encoded) {
    frame.set(part, at);
    at += part.byteLength;
  }
  return frame;
}

/**
 * Encodes messages to one control frame: a msgpack array whose records are indices into the static
 * table of shapes.
 *
 * @example
 * decodeBatch(encodeBatch([accepted(0, 10)])); // [{ op: 'accepted', first: 0, count: 10 }]
 */
export function encodeBatch(messages: readonly Message[]): Uint8Array {
  return packr.pack(messages);
}

/**
 * Decodes a control frame to plain values, whose fields are unchecked: see `checkMessage`.
 *
 * Byte fields are views (Node Buffers) on `frame`, and a frame may share memory with others that
 * the socket delivered with it: whoever keeps a small one for long copies it, with
 * `new Uint8Array(bytes)`.
 *
 * @throws FarmError `ERR_PROTOCOL` where the bytes are not one msgpack array of plain values.
 */
export function decodeBatch(frame: Uint8Array): readonly unknown[] {
  scanPlain(frame, FIELD_COUNTS);
  let values: unknown;
  try {
    values = packr.unpack(frame);
  } catch (error) {
    throw new FarmError('ERR_PROTOCOL', `malformed frame: ${textOf(error)}`, { cause: error });
  }
  if (!Array.isArray(values)) {
    throw new FarmError('ERR_PROTOCOL', 'malformed frame: it is not a batch of messages');
  }
  return values;
}

function arrayHeader(count: number): readonly number[] {
  if (count < 16) return [0x90 | count];
  if (count < 0x1_00_00) return [0xdc, count >> 8, count & 0xff];
  return [0xdd, (count >>> 24) & 0xff, (count >>> 16) & 0xff, (count >>> 8) & 0xff, count & 0xff];
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
