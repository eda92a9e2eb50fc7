import { expect, test } from 'vitest';

import { ReadyQueue } from '../../src/core/ready-queue.ts';
import type { WorkerRun } from '../../src/core/run.ts';

function aRun(run: number): WorkerRun {
  const fn = { fn: 1, meanUs: null, meanBytes: 0, runs: 1, isForgotten: false };
  return {
    run,
    task: run,
    fn,
    key: `f-${run}`,
    attempt: 1,
    args: new Uint8Array(),
    inputs: [],
    threads: 1,
    resources: [['GPU', 1]],
    needsDevices: true,
    timeoutMs: null,
    expectedUs: null,
    state: 'waiting',
    missing: 0,
    slot: -1,
    secededFrom: -1,
    grant: null,
    chargedUs: 0,
    isWithdrawing: false,
    stop: null,
  };
}

function queueOf(...runs: readonly WorkerRun[]): ReadyQueue {
  const queue = new ReadyQueue();
  for (const run of runs) queue.push(run);
  return queue;
}

function order(queue: ReadyQueue): readonly number[] {
  return [...queue.values()].map(({ run }) => run);
}

test('runs that are set aside are out of the way, and come back in front in their order', () => {
  const queue = queueOf(aRun(1), aRun(2), aRun(3));
  queue.setAside();
  queue.setAside();
  expect(queue.peek()?.run).toBe(3);
  expect(queue.size).toBe(3);
  expect(queue.hasAside).toBe(true);
  expect(queue.shift()?.run).toBe(3);
  queue.bringBack();
  expect(queue.hasAside).toBe(false);
  expect([queue.shift()?.run, queue.shift()?.run, queue.shift()]).toEqual([1, 2, undefined]);
});

test('a run that is taken out while it is set aside is not there twice when it comes back', () => {
  const first = aRun(1);
  const queue = queueOf(first, aRun(2));
  queue.setAside();
  queue.withdraw(first);
  expect(queue.hasAside).toBe(false);
  queue.push(first);
  queue.bringBack();
  expect(order(queue)).toEqual([2, 1]);
  expect(queue.size).toBe(2);
});

test('a run that ends while it is set aside is passed over', () => {
  const first = aRun(1);
  const queue = queueOf(first, aRun(2));
  queue.setAside();
  queue.remove(first);
  queue.bringBack();
  expect(order(queue)).toEqual([2]);
  expect(queue.peek()?.run).toBe(2);
});
