import { describe, expect, test } from 'vitest';

import { decodeValue, encodeValue, FUTURE } from '@farm/protocol';

import type { taskContext as getContext } from '../../src/shell/executors/threads/task-context.ts';
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
