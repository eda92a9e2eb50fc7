import { beforeEach, describe, expect, test } from 'vitest';

import { decodeValue, encodeValue, failure, FUTURE } from '@farm/protocol';

import type { taskContext as getContext } from '../../src/shell/executors/threads/task-context.ts';
import { fileOf } from '../../src/shell/memory-files/value-files.ts';
import {
  hasMemoryFiles,
  noResultFiles,
  openResultFiles,
} from '../shell/memory-files/file-values.ts';
import { Harness } from './executor-harness.ts';

// Functions travel by their source: what they use of the worker is there by name.
declare const taskContext: typeof getContext;

describe.each(['threads', 'processes'] as const)('functions in %s', (functionsIn) => {
  test('return arrays that they made in the place of their result', async () => {
    await using harness = new Harness({ functionsIn });
    const make = harness.source((length: number) => {
      const values = taskContext().resultArray(Float64Array, length);
      for (let index = 0; index < length; index++) values[index] = index;
      return values;
    });
    for (const length of [10, 1_000, 1_000_000]) {
      const run = harness.start(make, [length]);
      await harness.end(run);
      expect(harness.results.get(run)).toEqual(Float64Array.from({ length }, (_, at) => at));
    }
  });

  test('get inputs that are their own, and may write to them', async () => {
    await using harness = new Harness({ functionsIn });
    const sum = harness.source((values: Float64Array, others: Float64Array) => {
      values[0] = 100;
      others[0] = 1;
      return values.reduce((total, value) => total + value, 0) + others.length;
    });
    const { bytes: args } = encodeValue([{ [FUTURE]: true }, { [FUTURE]: true }]);
    const own = encodeValue(new Float64Array(100_000).fill(1)).bytes;
    const kept = encodeValue(new Float64Array(50_000)).bytes;
    const run = harness.start(sum, [], { args, inputs: [own, kept], movable: new Set([own]) });
    await harness.end(run);
    expect(harness.results.get(run)).toBe(100 + 99_999 + 50_000);
    expect(kept).toEqual(encodeValue(new Float64Array(50_000)).bytes);
    expect(own.byteLength === 0).toBe(functionsIn === 'threads');
  });

  test('may share the memory of inputs, where they run in threads', async () => {
    await using harness = new Harness({ functionsIn, slots: 2 });
    const bytes = encodeValue(new Float64Array(200_000).fill(1)).bytes;
    const input = new Uint8Array(new SharedArrayBuffer(bytes.byteLength));
    input.set(bytes);
    const mark = harness.source((values: Float64Array, at: number) => {
      values[at] = 7;
      return { isShared: values.buffer instanceof SharedArrayBuffer, part: values.subarray(0, 3) };
    });
    const start = (slot: number): number => {
      const { bytes: args } = encodeValue([{ [FUTURE]: true }, slot]);
      return harness.start(mark, [], { args, slot, inputs: [input], shared: new Set([input]) });
    };
    const runs = [start(0), start(1)];
    for (const run of runs) await harness.end(run);
    const isShared = functionsIn === 'threads';
    const seen = [...(decodeValue(input.slice()) as Float64Array).subarray(0, 3)];
    expect(seen).toEqual(isShared ? [7, 7, 1] : [1, 1, 1]);
    for (const run of runs) {
      // What a task returns of it is a copy.
      const { part, ...rest } = harness.results.get(run) as {
        isShared: boolean;
        part: Float64Array;
      };
      expect(rest).toEqual({ isShared });
      expect(part).toHaveLength(3);
      expect(part.buffer).toBeInstanceOf(ArrayBuffer);
    }
  });
});

describe.runIf(hasMemoryFiles())('results of threads in files in memory', () => {
  const LENGTH = 5_000_000;

  beforeEach(noResultFiles);

  test.each(['made in place', 'copied', 'part of an object'] as const)('are %s', async (how) => {
    await using harness = new Harness({ memoryFiles: true });
    const make = harness.source((length: number, how: string) => {
      const values =
        how === 'made in place'
          ? taskContext().resultArray(Float64Array, length)
          : new Float64Array(length);
      for (let index = 0; index < length; index++) values[index] = index;
      return how === 'part of an object' ? { values } : values;
    });
    const run = harness.start(make, [LENGTH, how]);
    await harness.end(run);
    const result = harness.results.get(run) as Float64Array | { readonly values: Float64Array };
    const values = result instanceof Float64Array ? result : result.values;
    expect(values.byteLength).toBe(8 * LENGTH);
    expect(values.findIndex((value, index) => value !== index)).toBe(-1);
    expect(fileOf(values.buffer)).toBeDefined();
  });

  test('are not, where they are not wanted or larger than the worker takes', async () => {
    for (const options of [{ memoryFiles: false }, { memoryFiles: true, resultBytesMax: 1e6 }]) {
      await using harness = new Harness(options);
      const make = harness.source((length: number) => {
        const values = taskContext().resultArray(Float64Array, length);
        return values.length === length ? 'made' : values;
      });
      const run = harness.start(make, [LENGTH]);
      await harness.end(run);
      expect([harness.results.get(run), openResultFiles()]).toEqual(['made', 0]);
    }
  });

  test('leave no file where the thread is ended before it returns one', async () => {
    await using harness = new Harness({ memoryFiles: true });
    const hang = harness.source((length: number) => {
      const values = taskContext().resultArray(Float64Array, length);
      console.log('made');
      for (;;) values[0] = (values[0] ?? 0) + 1;
    });
    const run = harness.start(hang, [LENGTH]);
    await harness.until(() => harness.output.stdout.includes('made'), 'the array');
    expect(openResultFiles()).toBe(1);
    const why = failure('ERR_CANCELLED', 'enough', 'task-1', 'w-1', null);
    harness.executor.interrupt(0, run, why);
    await harness.until(() => harness.emptied.length > 0, 'the end');
    expect(openResultFiles()).toBe(0);
  });
});
