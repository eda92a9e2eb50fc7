import type { GrantedPlaces, ResourceAmounts } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { WorkerCore, type DeviceResource, type WorkerEvent } from '../../src/core/index.ts';
import type { WorkerInstruction } from '../../src/core/index.ts';
import { aRun, defined, ended, messages, only, said } from './builders.ts';

const TWO_GPUS: readonly DeviceResource[] = [{ name: 'GPU', ids: ['0', '1'], amount: 2 }];

function aWorker(
  nthreads: number,
  devices: readonly DeviceResource[] = TWO_GPUS,
): (...events: readonly WorkerEvent[]) => readonly WorkerInstruction[] {
  const core = new WorkerCore({ nthreads, name: 'w', address: null, devices });
  const handle = (...events: readonly WorkerEvent[]): readonly WorkerInstruction[] => {
    const instructions = core.handle(events);
    core.validate();
    return instructions;
  };
  handle(defined(1), defined(2));
  return handle;
}

/** A run that is granted these places of what it asks for. */
function granting(
  run: number,
  resources: ResourceAmounts,
  places: GrantedPlaces | null,
): WorkerEvent {
  return said(aRun([run], { resources, devices: places === null ? null : [places] }));
}

/** Which runs were given to slots, with their devices of all kinds. */
function given(instructions: readonly WorkerInstruction[]): readonly unknown[] {
  return only(instructions, 'execute').flatMap(({ runs }) =>
    runs.map(({ run, devices }) => [run, devices]),
  );
}

describe('the devices of a run', () => {
  test('are those the scheduler grants, by the names they were given', () => {
    const ids = ['GPU-8f0c', 'MIG-41ab', 'MIG-52bc'];
    const handle = aWorker(2, [{ name: 'GPU', ids, amount: 3 }]);
    const one = granting(1, [['GPU', 1]], [[1]]);
    const two = granting(2, [['GPU', 2]], [[2, 0]]);
    expect(given(handle(one, two))).toEqual([
      [1, [['GPU', ['MIG-41ab']]]],
      [2, [['GPU', ['GPU-8f0c', 'MIG-52bc']]]],
    ]);
  });

  test('are named by resource, beside amounts that are no devices', () => {
    const handle = aWorker(1);
    const resources = [
      ['GPU', 0.5],
      ['MEM', 5],
    ] as const;
    expect(given(handle(granting(1, resources, [[1], []])))).toEqual([[1, [['GPU', ['1']]]]]);
  });

  test('are none for a run that asks for none, or for nothing of them', () => {
    const handle = aWorker(2);
    expect(given(handle(granting(1, [['MEM', 1]], null)))).toEqual([[1, null]]);
    expect(given(handle(granting(2, [['GPU', 0]], null)))).toEqual([[2, null]]);
  });

  test('stay the same when its slot gives it back unstarted', () => {
    const handle = aWorker(1);
    handle(granting(1, [['GPU', 1]], [[1]]));
    const back = handle({ kind: 'slot-emptied', nowMs: 1, slot: 0, failed: null, unstarted: [1] });
    expect(given(back)).toEqual([[1, [['GPU', ['1']]]]]);
  });

  test('are its own in its slot: nothing waits behind it there', () => {
    const handle = aWorker(1);
    handle(said(aRun([1, 2], { resources: [['GPU', 0.5]], devices: [[[0]], [[0]]] })));
    expect(given(handle(ended([1])))).toEqual([[2, [['GPU', ['0']]]]]);
  });

  test.each<readonly [string, GrantedPlaces | null]>([
    ['none', null],
    ['too few', [[0]]],
    ['one twice', [[0, 0]]],
    ['one that the worker does not have', [[0, 2]]],
  ])('fail it at once where they are %s', (_what, places) => {
    const handle = aWorker(1);
    expect(messages(handle(granting(1, [['GPU', 2]], places)))).toMatchObject([
      {
        op: 'run-failed',
        failure: {
          code: 'ERR_INTERNAL',
          message: 'f takes GPU=2, and was not granted as many devices',
        },
      },
    ]);
  });
});

test('the check of a core finds a device that is granted by more than there is', () => {
  const handle = aWorker(2, [{ name: 'GPU', ids: ['0', '1'], amount: 1.5 }]);
  handle(granting(1, [['GPU', 1]], [[0]]));
  const more = granting(2, [['GPU', 0.1]], [[0]]);
  expect(() => handle(more)).toThrow('GPU 0 is granted by 11000 of 10000');
  const other = aWorker(2, [{ name: 'GPU', ids: ['0', '1'], amount: 1.5 }]);
  expect(() => other(granting(1, [['GPU', 1]], [[1]]))).toThrow(
    'GPU 1 is granted by 10000 of 5000',
  );
});

test('a resource has as many names as devices', () => {
  const devices = [{ name: 'GPU', ids: ['0', '1'], amount: 3 }];
  expect(() => new WorkerCore({ nthreads: 1, name: 'w', address: null, devices })).toThrow(
    'GPU=3 is called 2 names',
  );
});
