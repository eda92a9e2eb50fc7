import { finished, leaving, type WorkerMessage } from '@farm/protocol/core';
import { expect, onTestFinished, test, vi } from 'vitest';

import { FinishedHold } from '../../src/shell/finished-hold.ts';

function ended(...runs: number[]): WorkerMessage {
  const same = runs.map(() => 1);
  return finished({
    runs,
    sizes: same,
    values: Uint8Array.from(runs),
    ends: runs.map((_, index) => index + 1),
    durationsUs: same,
  });
}

function aHold(): { readonly hold: FinishedHold; readonly sent: WorkerMessage[] } {
  const sent: WorkerMessage[] = [];
  return { hold: new FinishedHold((message) => sent.push(message)), sent };
}

test('an end after a silence is told at once, those soon after it together', () => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { hold, sent } = aHold();
  const all = [ended(1), ended(2), ended(3)];
  for (const message of all) hold.send(message, true);
  expect(sent).toEqual(all.slice(0, 1));
  vi.advanceTimersByTime(9);
  expect(sent).toEqual(all.slice(0, 1));
  vi.advanceTimersByTime(1);
  expect(sent).toEqual([ended(1), ended(2, 3)]);
});

test('what is large leaves in several messages, in order and whole', () => {
  const { hold, sent } = aHold();
  hold.send(ended(1), true);
  const large = (run: number): WorkerMessage =>
    finished({
      runs: [run],
      sizes: [40_000],
      values: new Uint8Array(40_000).fill(run),
      ends: [40_000],
      durationsUs: [1],
    });
  for (const message of [ended(2), large(3), large(4), ended(5)]) hold.send(message, true);
  hold.flush();
  const runs = sent.map((message) => (message.op === 'finished' ? message.runs : []));
  expect(runs).toEqual([[1], [2, 3], [4, 5]]);
  const last = sent.at(-1);
  if (last?.op !== 'finished') throw new Error('not finished');
  expect(last.ends).toEqual([40_000, 40_001]);
  expect(last.values.at(39_999)).toBe(4);
  expect(last.values.at(40_000)).toBe(5);
});

test('whatever else is said comes after the ends that were held', () => {
  const { hold, sent } = aHold();
  hold.send(ended(1), true);
  hold.send(ended(2), true);
  hold.send(ended(3), true);
  hold.send(leaving('done'), true);
  expect(sent).toEqual([ended(1), ended(2, 3), leaving('done')]);
});

test('a worker that has nothing else to do holds nothing, nor does a full message wait', () => {
  const { hold, sent } = aHold();
  for (let run = 1; run <= 3; run++) hold.send(ended(run), false);
  hold.send(ended(4, 5, 6, 7, 8), true);
  expect(sent).toHaveLength(4);
});
