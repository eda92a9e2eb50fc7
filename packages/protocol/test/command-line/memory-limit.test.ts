import { describe, expect, test } from 'vitest';

import { parseMemoryLimit } from '../../src/command-line/memory-limit.ts';

const capacity = { totalBytes: 64e9, nthreads: 4, cores: 16 };

describe('parseMemoryLimit', () => {
  test.each([
    ['auto', 16e9],
    ['AUTO', 16e9],
    ['0', null],
    ['0.0', null],
    ['0GB', null],
    ['0.5', 32e9],
    ['1', 64e9],
    ['1.0', 64e9],
    ['1e9', 1e9],
    ['5000000000', 5e9],
    ['5GB', 5e9],
    ['5GiB', 5 * 2 ** 30],
    ['5 GB', 5e9],
    ['0.5GB', 5e8],
    ['64GB', 64e9],
  ])('reads %j', (text, limitBytes) => {
    expect(parseMemoryLimit(text, capacity)).toEqual({ limitBytes });
  });

  test('auto is never more than the total', () => {
    expect(parseMemoryLimit('auto', { ...capacity, nthreads: 99 })).toEqual({ limitBytes: 64e9 });
  });

  test('lowers a limit above what there is, and says so', () => {
    expect(parseMemoryLimit('512GB', capacity)).toEqual({
      limitBytes: 64e9,
      warning: 'the memory limit 512GB is more than there is, using all of it: 59.60 GiB',
    });
  });

  test('keeps an implausibly small limit, and asks for the unit', () => {
    const { limitBytes, warning } = parseMemoryLimit('91', capacity);
    expect(limitBytes).toBe(91);
    expect(warning).toContain('the memory limit 91 is only 91 B');
  });

  test.each(['', '-1', '-5GB', '5XB', 'NaN', 'Infinity', '1e400', '1.5', 'half', '50%', 'none'])(
    'refuses %j',
    (text) => {
      expect(() => parseMemoryLimit(text, capacity)).toThrow(
        expect.objectContaining({
          code: 'ERR_ARGUMENT',
          message:
            `${JSON.stringify(text)} is not a memory limit; write auto, 0 (no limit), ` +
            'a fraction such as 0.5, bytes such as 1e9, or a size such as 5GB or 5GiB',
        }),
      );
    },
  );
});
