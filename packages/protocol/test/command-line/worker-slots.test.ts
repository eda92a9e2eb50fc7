import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  parseThreadCount,
  parseWorkerCount,
  workerSlots,
} from '../../src/command-line/worker-slots.ts';

test('thread counts are whole numbers, 0 or auto', () => {
  expect(['4', '0', 'auto'].map(parseThreadCount)).toEqual([4, 'auto', 'auto']);
  for (const text of ['-1', '1.5', '', 'all', '1e400']) {
    expect(() => parseThreadCount(text)).toThrow(`${JSON.stringify(text)} is not a whole number`);
  }
});

test('worker counts are whole numbers but 0, or auto', () => {
  expect(['2', '-1', 'Auto'].map(parseWorkerCount)).toEqual([2, -1, 'auto']);
  expect(() => parseWorkerCount('0')).toThrow('"0" starts no worker');
  expect(() => parseWorkerCount('x')).toThrow('"x" is not a whole number');
});

describe('workerSlots', () => {
  test.each([
    [{ nthreads: 'auto', nworkers: 1, cores: 8 }, [8]],
    [{ nthreads: 'auto', nworkers: 3, cores: 8 }, [3, 3, 2]],
    [{ nthreads: 'auto', nworkers: 3, cores: 2 }, [1, 1, 1]],
    [{ nthreads: 2, nworkers: 3, cores: 8 }, [2, 2, 2]],
    [{ nthreads: 1, nworkers: -1, cores: 2 }, [1, 1]],
    [{ nthreads: 'auto', nworkers: -2, cores: 3 }, [2, 1]],
    [{ nthreads: 'auto', nworkers: 'auto', cores: 4 }, [1, 1, 1, 1]],
    [{ nthreads: 'auto', nworkers: 'auto', cores: 8 }, [2, 2, 2, 2]],
    [{ nthreads: 3, nworkers: 'auto', cores: 8 }, [3, 3]],
    [{ nthreads: 30, nworkers: 'auto', cores: 8 }, [30]],
  ] as const)('of %j are %j', (options, slots) => {
    expect(workerSlots(options)).toEqual(slots);
  });

  test('refuses to count back below one worker', () => {
    expect(() => workerSlots({ nthreads: 1, nworkers: -4, cores: 3 })).toThrow('write at least -3');
  });

  test('loses no core to the remainder', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 512 }), fc.integer({ min: 1, max: 512 }), (a, b) => {
        const [nworkers = 1, cores = 1] = [a, b].toSorted((x, y) => x - y);
        const slots = workerSlots({ nthreads: 'auto', nworkers, cores });
        expect(slots).toHaveLength(nworkers);
        expect(slots.reduce((sum, threads) => sum + threads)).toBe(cores);
        expect(Math.max(...slots) - Math.min(...slots)).toBeLessThanOrEqual(1);
      }),
    );
  });
});
