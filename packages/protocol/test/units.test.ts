import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { formatDuration } from '../src/core/format-duration.ts';
import { formatBytes, parseBytes, parseDuration } from '../src/units.ts';
import { refusal } from './refusal.ts';

describe('parseBytes', () => {
  test.each([
    ['0', 0],
    ['1', 1],
    ['5GB', 5e9],
    ['5GiB', 5 * 2 ** 30],
    ['5 GB', 5e9],
    [' 5gb ', 5e9],
    ['5Gi', 5 * 2 ** 30],
    ['5G', 5e9],
    ['1e9', 1e9],
    ['1e3kB', 1e6],
    ['0.5MB', 500_000],
    ['.5MB', 500_000],
    ['100 B', 100],
    ['1kiB', 1024],
    ['2TiB', 2 * 2 ** 40],
    ['1PB', 1e15],
    ['1PiB', 2 ** 50],
    ['512GB', 512e9],
    ['0.0015kB', 1],
    ['+7', 7],
  ])('reads %j as %d bytes', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  test.each(['', ' ', 'GB', '5XB', '-1', '-5GB', 'NaN', 'Infinity', '1e400', '1e300', '0x10'])(
    'refuses %j by name',
    (text) => {
      const error = refusal(() => parseBytes(text));
      expect(error.code).toBe('ERR_ARGUMENT');
      expect(error.message).toContain(JSON.stringify(text));
    },
  );

  test.each(['1.2.3', '1,5GB', '5 G B', '5GB5', '1__0', '５GB', '1e', '9e9PB'])(
    'refuses %j',
    (text) => {
      expect(() => parseBytes(text)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
    },
  );

  test('says what is valid', () => {
    expect(() => parseBytes('5XB')).toThrow(
      '"5XB" is not a size, "XB" is not a unit; for example 5GB',
    );
  });

  test('reads every whole number back', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => {
        expect(parseBytes(String(bytes))).toBe(bytes);
      }),
    );
  });
});

describe('parseDuration', () => {
  test.each([
    ['60', 60_000],
    ['60s', 60_000],
    ['1m', 60_000],
    ['1 minute', 60_000],
    ['5 minutes', 300_000],
    ['500ms', 500],
    ['1h', 3_600_000],
    ['2 Days', 172_800_000],
    ['0', 0],
    ['1.5s', 1_500],
    ['100us', 0.1],
    ['100 µs', 0.1],
    ['100 μs', 0.1],
    ['1e3', 1_000_000],
  ])('reads %j as %d ms', (text, ms) => {
    expect(parseDuration(text)).toBeCloseTo(ms, 9);
  });

  test.each(['', 's', '-1', '-0.1s', 'NaN', 'Infinity', '1e400', '60x', '1:30', '1h30m', 'soon'])(
    'refuses %j',
    (text) => {
      const error = refusal(() => parseDuration(text));
      expect(error.code).toBe('ERR_ARGUMENT');
      expect(error.message).toContain(`${JSON.stringify(text)} is not a duration`);
    },
  );
});

describe('formatBytes', () => {
  test.each([
    [0, '0 B'],
    [1, '1 B'],
    [921, '921 B'],
    [1_000, '0.98 kiB'],
    [2 ** 20, '1.00 MiB'],
    [91e9, '84.75 GiB'],
    [2 ** 40, '1.00 TiB'],
    [2 ** 50, '1.00 PiB'],
  ])('prints %d as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  test('prints what parseBytes reads back, but for the rounding', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 50 }), (bytes) => {
        const readBack = parseBytes(formatBytes(bytes));
        expect(Math.abs(readBack - bytes)).toBeLessThanOrEqual(1 + bytes * 0.006);
      }),
    );
  });
});

describe('formatDuration', () => {
  test.each([
    [0.25, '250.00 us'],
    [12, '12.00 ms'],
    [1_500, '1.50 s'],
    [599_000, '599.00 s'],
    [754_000, '12m 34s'],
    [3 * 3_600_000, '3h 0m'],
    [49 * 3_600_000, '2d 1h'],
  ])('prints %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});
