import { finished, leaving, type WorkerMessage } from '@farm/protocol/core';
import { expect, onTestFinished, test, vi } from 'vitest';

import { FinishedHold } from '../../src/shell/finished-hold.ts';

function ended(...runs: number[]): WorkerMessage {
  const same = runs.map(() => 1);
  return finished({
    runs,
    sizes: same,
    values: new Uint8Array(runs.length),
    ends: same,
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
  vi.advanceTimersByTime(5);
  expect(sent).toEqual(all);
});

test('whatever else is said comes after the ends that were held', () => {
  const { hold, sent } = aHold();
  hold.send(ended(1), true);
  hold.send(ended(2), true);
  hold.send(leaving('done'), true);
  expect(sent.map(({ op }) => op)).toEqual(['finished', 'finished', 'leaving']);
});

test('a worker that has nothing else to do holds nothing, nor does a full message wait', () => {
  const { hold, sent } = aHold();
  for (let run = 1; run <= 3; run++) hold.send(ended(run), false);
  hold.send(ended(4, 5, 6, 7, 8), true);
  expect(sent).toHaveLength(4);
});
