import { expect, test } from 'vitest';

import type { ExecutorRun } from '../../src/shell/executors/executor.ts';
import { movedBuffers, packRuns } from '../../src/shell/executors/threads/run-batch.ts';
import { batchPiece } from '../../src/shell/executors/threads/thread-messages.ts';

function aRun(inputs: readonly Uint8Array[], movable?: readonly Uint8Array[]): ExecutorRun {
  return {
    run: 1,
    key: 'f',
    attempt: 1,
    args: new Uint8Array([1, 2, 3]),
    inputs,
    ...(movable === undefined ? {} : { movable: new Set(movable) }),
    timeoutMs: null,
    resources: [],
  };
}

test('inputs are copied beside the arguments, but for those that are the run’s own', () => {
  const [kept, own] = [new Uint8Array([7, 8]), new Uint8Array(20_000).fill(9)];
  const batch = packRuns(1, 0, [aRun([kept]), aRun([own, kept], [own])], true);
  const pieces = [0, 1, 2, 3, 4].map((piece) => batchPiece(batch, piece));
  expect(pieces.map((piece) => piece.byteLength)).toEqual([3, 2, 3, 20_000, 2]);
  expect(pieces[3]).toBe(own);
  expect(pieces[4]).toEqual(kept);
  expect(pieces[4]?.buffer).not.toBe(kept.buffer);
  expect(movedBuffers(batch)).toEqual([own.buffer]);
});

test('where nothing can move apart, all are copied', () => {
  const own = new Uint8Array([9]);
  const batch = packRuns(1, 0, [aRun([own], [own])]);
  expect(batch.apart).toBeNull();
  expect(batchPiece(batch, 1)).toEqual(own);
  expect(batchPiece(batch, 1)).not.toBe(own);
});
