import { describe, expect, it } from 'vitest';

import { BULK_HEADER_BYTES, decodeBulk, encodeBulkHeader, isBulk } from '../../src/codec/bulk.ts';
import { encodeBatch } from '../../src/codec/batch.ts';
import { SAMPLE_MESSAGES } from '../../src/codec/samples.ts';

const bytes = new Uint8Array([1, 2, 3]);
const frame = { request: 7, totalBytes: 100, offset: 90, bytes };

describe('a bulk frame', () => {
  it('has the header this protocol version fixed, of 8 × n bytes', () => {
    const big = { ...frame, request: 2 ** 32 + 5, totalBytes: Number.MAX_SAFE_INTEGER };
    expect(BULK_HEADER_BYTES % 8).toBe(0);
    expect(Buffer.from(encodeBulkHeader(big)).toString('hex')).toBe(
      '01000000000000000500000001000000ffffffffffff1f005a00000000000000',
    );
    expect(decodeBulk(encodeBulkHeader(big), [bytes])).toEqual(big);
  });

  it('is told from a batch by its first byte', () => {
    expect(isBulk(encodeBulkHeader(frame))).toBe(true);
    for (const count of [0, 1, 20, SAMPLE_MESSAGES.length]) {
      expect(isBulk(encodeBatch(SAMPLE_MESSAGES.slice(0, count)))).toBe(false);
    }
  });

  it('arrives whole, or in pieces cut anywhere', () => {
    const whole = Buffer.concat([encodeBulkHeader(frame), bytes]);
    expect(decodeBulk(whole)).toEqual({ ...frame, bytes: Buffer.from(bytes) });
    for (let cut = BULK_HEADER_BYTES; cut <= whole.length; cut++) {
      const decoded = decodeBulk(whole.subarray(0, cut), [whole.subarray(cut)]);
      expect(Buffer.from(decoded.bytes).equals(bytes)).toBe(true);
    }
  });

  it('is not copied where it came as header and bytes', () => {
    expect(decodeBulk(encodeBulkHeader(frame), [bytes]).bytes).toBe(bytes);
  });

  it.each([
    ['a short header', Buffer.from([1, 0, 0])],
    ['another tag', Buffer.alloc(32, 2)],
    ['set reserved bytes', Buffer.concat([Buffer.from([1, 1]), Buffer.alloc(30)])],
    [
      'a number past 2^53',
      Buffer.concat([Buffer.from([1]), Buffer.alloc(7), Buffer.alloc(24, 255)]),
    ],
    ['bytes past the announced size', Buffer.concat([encodeBulkHeader(frame), Buffer.alloc(11)])],
  ])('is refused with %s', (_what, broken) => {
    expect(() => decodeBulk(broken)).toThrow(expect.objectContaining({ code: 'ERR_PROTOCOL' }));
  });
});
