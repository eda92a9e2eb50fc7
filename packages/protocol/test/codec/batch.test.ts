import { readFileSync } from 'node:fs';

import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';

import { FarmError, PROTOCOL_VERSION } from '@farm/protocol';
import type { Message } from '@farm/protocol';
import { decodeBatch, encodeBatch, encodeMessage, joinBatch } from '../../src/codec/batch.ts';
import { SAMPLES, SAMPLE_MESSAGES } from '../../src/codec/samples.ts';
import { SHAPES } from '../../src/codec/shapes.ts';
import { errorWith } from '../transport/texts.ts';

/** Bytes of each kind of message as this protocol version has them on the wire. */
const VECTORS: Readonly<Record<string, unknown>> = JSON.parse(
  readFileSync(new URL(`vectors/protocol-${PROTOCOL_VERSION}.json`, import.meta.url), 'utf8'),
) as Record<string, unknown>; // SAFE: what is read from it is compared with text.

/** Byte fields arrive as Buffers, which are Uint8Arrays; compares them as such. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

describe('the static table of shapes', () => {
  it('fits one-byte ids and has the messages that are sent for every task', () => {
    expect(SHAPES.length).toBeLessThanOrEqual(32);
    for (const message of SAMPLE_MESSAGES.slice(0, 24)) {
      expect(SHAPES.map(String)).toContain(String(Object.keys(message)));
    }
  });

  it('does not grow, whatever is encoded', () => {
    const before = encodeBatch(SAMPLE_MESSAGES);
    const unknown = Array.from({ length: 200 }, (_, index) => ({
      ...SAMPLES.reply,
      answer: { [`field${index}`]: { [`inner${index}`]: index } },
    }));
    for (const message of unknown) encodeBatch([message]);
    expect(Buffer.from(encodeBatch(SAMPLE_MESSAGES)).equals(before)).toBe(true);
  });

  it('lets a fresh decoder with the same table read what this one wrote', () => {
    const fresh = new Packr({
      structures: SHAPES.map((shape) => [...shape]),
      maxSharedStructures: SHAPES.length,
      maxOwnStructures: 0,
      mapsAsObjects: true,
    });
    expect(plain(fresh.unpack(encodeBatch(SAMPLE_MESSAGES)))).toEqual(SAMPLE_MESSAGES);
  });
});

describe('a batch', () => {
  it.each(Object.values(SAMPLES).map((message) => [message.op, message] as const))(
    'carries %s, as the bytes this protocol version fixed',
    (op, message) => {
      const encoded = encodeBatch([message]);
      expect(plain(decodeBatch(encoded))).toEqual([message]);
      expect(Buffer.from(encoded).toString('hex')).toBe(VECTORS[op]);
    },
  );

  it('is the same whether its messages were encoded together or one by one', () => {
    for (const count of [0, 1, 15, 16, 70_000]) {
      const messages = Array.from<Message>({ length: count }).fill(SAMPLES.accepted);
      const joined = Buffer.from(joinBatch(messages.map(encodeMessage)));
      expect(joined.equals(encodeBatch(messages))).toBe(true);
    }
  });

  it('brings shapes outside the table as plain objects', () => {
    const answer = { tasks: { memory: 3 }, list: [{ odd: 1 }, { odd: 2 }], none: undefined };
    const [message] = decodeBatch(encodeBatch([{ ...SAMPLES.reply, answer }]));
    expect(message).toEqual({ ...SAMPLES.reply, answer });
    expect(Object.getPrototypeOf((message as { answer: object }).answer)).toBe(Object.prototype);
  });

  it('keeps ids and sizes up to 2^53 - 1 and fractions exact', () => {
    const runs = [0, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER];
    const message = { ...SAMPLES.stopped, runs, kept: [0.1, 1e300] };
    expect(decodeBatch(encodeBatch([message]))).toEqual([message]);
  });

  it('takes half the bytes of a message with its keys', () => {
    const withKeys = new Packr({ useRecords: false }).pack([SAMPLES.accepted]);
    expect(encodeBatch([SAMPLES.accepted]).byteLength).toBeLessThan(withKeys.length / 2);
  });
});

describe('a frame that is not a batch of plain values', () => {
  const sampleFrame = Buffer.from(encodeBatch(SAMPLE_MESSAGES));
  const undoes = (hex: string): unknown => decodeBatch(Buffer.from(hex, 'hex'));
  const protocolError = errorWith('ERR_PROTOCOL');

  it.each([
    ['nothing', ''],
    ['a number', '07'],
    ['a map', '80'],
    ['an array of 2^25 announced in 5 bytes', 'dd02000000'],
    ['an array of 2^32 - 1', 'ddffffffff'],
    ['nested announcements', 'dd00000010'.repeat(100)],
    ['text longer than the frame', '91dbffffffff'],
    ['bytes longer than the frame', '91c600010000'],
    ['a date', '91d6ff00000000'],
    ['a regular expression', '91c7057891a161a0'],
    ['a record definition', '91d4724091a16101'],
    ['a two-byte record definition', '91d572400091a16101'],
    ['an unknown record', '917f01'],
    ['a reference', '91d67000000001'],
    ['a 64-bit integer', '91cf0000000000000001'],
    ['the unused token', '91c1'],
    ['a number as key', '9181070a'],
    ['the key __proto__', `9181a9${Buffer.from('__proto__').toString('hex')}80`],
    ['the key __proto__, longer token', `9181d909${Buffer.from('__proto__').toString('hex')}80`],
    ['depth 100,000', '91'.repeat(100_000)],
    ['a byte too many', '9000'],
  ])('is refused: %s', (_what, hex) => {
    expect(() => undoes(hex)).toThrow(protocolError);
  });

  it('is refused when cut at any byte', () => {
    for (let length = 0; length < sampleFrame.length; length++) {
      expect(() => decodeBatch(sampleFrame.subarray(0, length))).toThrow(protocolError);
    }
  });

  it('never breaks the decoder, nor does anything but throw ERR_PROTOCOL', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(sampleFrame.length - 1), fc.nat(255)), {
          minLength: 1,
          maxLength: 6,
        }),
        (edits) => {
          const mutant = Buffer.from(sampleFrame);
          for (const [at, byte] of edits) mutant[at] = byte;
          try {
            decodeBatch(mutant);
          } catch (error) {
            expect(error).toBeInstanceOf(FarmError);
          }
          expect(decodeBatch(sampleFrame)).toHaveLength(SAMPLE_MESSAGES.length);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('does not reach past its own bytes', () => {
    const shared = Buffer.concat([Buffer.from([0x91, 0xa5]), Buffer.from('secret')]);
    expect(() => decodeBatch(shared.subarray(0, 3))).toThrow(protocolError);
  });
});
