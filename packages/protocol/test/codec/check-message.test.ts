import { describe, expect, it } from 'vitest';

import { LIMITS, packU32 } from '@farm/protocol';
import { decodeBatch, encodeBatch } from '../../src/codec/batch.ts';
import { checkMessage } from '../../src/codec/check-message.ts';
import type { Speaker } from '../../src/codec/check-message.ts';
import { SAMPLES, SAMPLE_MESSAGES } from '../../src/codec/samples.ts';
import { errorWith } from '../transport/texts.ts';

const SPEAKERS: readonly Speaker[] = ['client', 'client-bound', 'worker', 'worker-bound', 'peer'];

/** Everyone who may say this. */
function speakersOf(message: unknown): readonly Speaker[] {
  return SPEAKERS.filter((speaker) => {
    try {
      checkMessage(message, speaker);
      return true;
    } catch {
      return false;
    }
  });
}

const cases = SAMPLE_MESSAGES.map((message) => [message.op, message] as const);

describe('checkMessage', () => {
  it.each(cases)('accepts %s as it comes off the wire', (_op, message) => {
    const [decoded] = decodeBatch(encodeBatch([message]));
    expect(speakersOf(decoded).length).toBeGreaterThan(0);
  });

  it('knows who may say what', () => {
    expect(speakersOf(SAMPLES.submit)).toEqual(['client']);
    expect(speakersOf(SAMPLES.results)).toEqual(['client-bound']);
    expect(speakersOf(SAMPLES.finished)).toEqual(['worker']);
    expect(speakersOf(SAMPLES.run)).toEqual(['worker-bound']);
    expect(speakersOf(SAMPLES['get-data'])).toEqual(['worker-bound', 'peer']);
    expect(speakersOf(SAMPLES['data-failed'])).toEqual([
      'client-bound',
      'worker',
      'worker-bound',
      'peer',
    ]);
    expect(() => checkMessage(SAMPLES.run, 'client')).toThrow(/unknown op "run" from a client/);
  });

  it.each(cases)('refuses %s with any field missing, naming op and field', (op, message) => {
    const [speaker = 'client'] = speakersOf(message);
    for (const field of Object.keys(message).filter((key) => key !== 'op')) {
      const rest = Object.fromEntries(Object.entries(message).filter(([key]) => key !== field));
      expect(() => checkMessage(rest, speaker)).toThrow(new RegExp(`"${op}": .*`));
    }
  });

  it.each(cases)('refuses %s with any field of a wrong type', (op, message) => {
    const [speaker = 'client'] = speakersOf(message);
    const anything = new Set(['answer']);
    for (const field of Object.keys(message).filter((key) => key !== 'op' && !anything.has(key))) {
      for (const wrong of [undefined, true, -1, 0.5, Number.NaN, 'x'.repeat(2_000), {}, [{}]]) {
        const isFine =
          (wrong === true && field === 'running') ||
          (wrong === 0.5 && /duration|timeoutMs|expectedUs/.test(field)) ||
          (typeof wrong === 'string' && ['reason', 'name'].includes(field));
        if (isFine) continue;
        const check = (): void => checkMessage({ ...message, [field]: wrong }, speaker);
        expect(check).toThrow(errorWith('ERR_PROTOCOL', `"${op}": ${field}`));
      }
    }
  });

  it.each(cases)('refuses %s with a field too many', (op, message) => {
    const [speaker = 'client'] = speakersOf(message);
    const extra = { ...message, extra: 1 };
    expect(() => checkMessage(extra, speaker)).toThrow(`"${op}": unknown field "extra"`);
  });

  it.each([null, undefined, 7, 'submit', [], {}, { op: 'constructor' }, { op: '__proto__' }])(
    'refuses %j',
    (value) => {
      expect(() => checkMessage(value, 'client')).toThrow(/ERR_|broken protocol/);
    },
  );

  const submit = SAMPLES.submit;
  it.each<readonly [string, unknown, Speaker, RegExp]>([
    ['no tasks', { ...submit, count: 0 }, 'client', /count 0/],
    ['too many tasks', { ...submit, count: LIMITS.blockTasksMax + 1 }, 'client', /count/],
    ['an id past 2^32', { ...submit, first: 2 ** 32 - 1 }, 'client', /first/],
    ['tasks without indices', { ...submit, indexFrom: null }, 'client', /indexFrom/],
    ['a short column', { ...submit, argEndsColumn: packU32([3]) }, 'client', /argEndsColumn has 1/],
    ['a torn column', { ...submit, argEndsColumn: new Uint8Array(7) }, 'client', /4 × n/],
    ['a falling column', { ...submit, argEndsColumn: packU32([4, 3]) }, 'client', /falls/],
    ['ends past the bytes', { ...submit, argEndsColumn: packU32([1, 4]) }, 'client', /ends at 4/],
    ['one deps column', { ...submit, depEndsColumn: null }, 'client', /only one/],
    ['deps that do not add up', { ...submit, depsColumn: packU32([0, 1]) }, 'client', /depEnds/],
    ['an empty key', { ...submit, key: '' }, 'client', /key is empty/],
    ['a long key', { ...submit, key: 'k'.repeat(LIMITS.keyLengthMax + 1) }, 'client', /longer/],
    [
      'an infinite amount',
      { ...submit, options: { ...submit.options, resources: [['GPU', Infinity]] } },
      'client',
      /options : resources \[0\] is not a non-negative number/,
    ],
    [
      'a resource named twice',
      {
        ...submit,
        options: {
          ...submit.options,
          resources: [
            ['GPU', 1],
            ['GPU', 2],
          ],
        },
      },
      'client',
      /twice/,
    ],
    [
      'an infinite priority',
      { ...submit, options: { ...submit.options, priority: Infinity } },
      'client',
      /priority/,
    ],
    [
      'half of what is slow',
      { ...submit, options: { ...submit.options, speculate: [3] } },
      'client',
      /options : speculate is not a pair of numbers/,
    ],
    [
      'a slowness that is negative',
      { ...submit, options: { ...submit.options, speculate: [3, -1] } },
      'client',
      /options : speculate \[1\] is not a non-negative number/,
    ],
    [
      'no time at all',
      { ...submit, options: { ...submit.options, timeoutMs: 0 } },
      'client',
      /timeoutMs/,
    ],
    ['half a range', { ...SAMPLES.release, ranges: [1] }, 'client', /without a count/],
    ['a range past 2^32', { ...SAMPLES.release, ranges: [1, 2 ** 32] }, 'client', /past 2\^32/],
    ['an unknown question', { ...SAMPLES.ask, method: 'toString' }, 'client', /method/],
    ['wrong parameters', { ...SAMPLES.ask, params: { key: 1 } }, 'client', /params : key/],
    ['a huge request', { ...SAMPLES['get-result'], length: 2 ** 40 }, 'client', /length/],
    ['missing sizes', { ...SAMPLES.finished, sizes: [1] }, 'worker', /sizes has 1 entries/],
    ['a result of no bytes', { ...SAMPLES.finished, sizes: [0, 1] }, 'worker', /sizes \[0\]/],
    ['missing ends', { ...SAMPLES.finished, ends: [2] }, 'worker', /ends has 1/],
    ['an end too far', { ...SAMPLES.finished, ends: [2, 9] }, 'worker', /ends at 9/],
    ['an unknown place', { ...SAMPLES.results, ranOn: [0, 1] }, 'client-bound', /ranOn/],
    ['a run of nothing', { ...SAMPLES.run, tasks: [] }, 'worker-bound', /tasks is empty/],
    ['missing run ids', { ...SAMPLES.run, runs: [7] }, 'worker-bound', /runs has 1/],
    ['missing indices', { ...SAMPLES.run, indices: [0] }, 'worker-bound', /indices has 1/],
    ['missing devices', { ...SAMPLES.run, devices: [[[0]]] }, 'worker-bound', /devices has 1/],
    [
      'devices of other resources',
      { ...SAMPLES.run, devices: [[[0]], [[0], [1]]] },
      'worker-bound',
      /devices has 2 entries, there are 1/,
    ],
    ['missing inputs', { ...SAMPLES.run, dependencies: [[]] }, 'worker-bound', /dependencies/],
    [
      'an odd input',
      { ...SAMPLES.run, dependencies: [[{ task: 1 }], []] },
      'worker-bound',
      /dependencies \[0\] \[0\] : size/,
    ],
  ])('refuses %s', (_what, message, speaker, problem) => {
    expect(() => checkMessage(message, speaker)).toThrow(problem);
  });
});
