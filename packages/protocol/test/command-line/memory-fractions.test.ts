import { expect, test } from 'vitest';

import { parseMemoryFractions } from '@farm/protocol/command-line';

test.each([
  ['target=0.5', { target: 0.5, spill: 0.7, pause: 0.8, terminate: 0.95 }],
  ['pause=0 terminate=0', { target: 0.6, spill: 0.7, pause: 0, terminate: 0 }],
  [
    'target=0.1,spill=0.2,pause=0.3,terminate=1',
    { target: 0.1, spill: 0.2, pause: 0.3, terminate: 1 },
  ],
])('%s changes what it names', (text, fractions) => {
  expect(parseMemoryFractions(text)).toEqual(fractions);
});

test.each([
  ['taget=0.5', 'there is no taget'],
  ['pause=1.5', 'pause=1.5 is not from 0 to 1'],
  ['target=0.75', '0.75, 0.7, 0.8, 0.95 do not rise'],
  ['spill', 'NAME=AMOUNT'],
])('%s is refused', (text, problem) => {
  expect(() => parseMemoryFractions(text)).toThrow(problem);
});
