import { stop, type ResourceAmounts } from '@farm/protocol/core';
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

/** A run that asks for these. */
function asking(run: number, resources: ResourceAmounts | number): WorkerEvent {
  return said(
    aRun([run], { resources: typeof resources === 'number' ? [['GPU', resources]] : resources }),
  );
}

/** Which runs were given to slots, with their devices of all kinds. */
function granted(instructions: readonly WorkerInstruction[]): readonly unknown[] {
  return only(instructions, 'execute').flatMap(({ runs }) =>
    runs.map(({ run, devices }) => [run, devices?.flatMap(([, ids]) => ids) ?? null]),
  );
}

describe('whole devices', () => {
  test('are the free ones that come first', () => {
    const handle = aWorker(3);
    expect(granted(handle(asking(1, 1), asking(2, 1)))).toEqual([
      [1, ['0']],
      [2, ['1']],
    ]);
    handle(ended([1]));
    expect(granted(handle(asking(3, 1)))).toEqual([[3, ['0']]]);
  });

  test('are waited for, and runs that need none go past', () => {
    const handle = aWorker(3);
    handle(asking(1, 1));
    expect(granted(handle(asking(2, 2), asking(3, 1), said(aRun([4]))))).toEqual([[4, null]]);
    expect(granted(handle(ended([1])))).toEqual([[2, ['0', '1']]]);
    expect(granted(handle(ended([2])))).toEqual([[3, ['0']]]);
  });

  test('that a run waited for in vain are free for those behind it', () => {
    const handle = aWorker(3);
    handle(asking(1, 1), asking(2, 2), asking(3, 1));
    expect(granted(handle(said(stop([2], false))))).toEqual([[3, ['1']]]);
  });

  test('go by the names they were given', () => {
    const ids = ['GPU-8f0c', 'MIG-41ab'];
    const handle = aWorker(2, [{ name: 'GPU', ids, amount: 2 }]);
    expect(granted(handle(asking(1, 2)))).toEqual([[1, ids]]);
  });
});

describe('shares of devices', () => {
  test('share one device before they take another', () => {
    const handle = aWorker(4);
    expect(granted(handle(asking(1, 0.5), asking(2, 0.5), asking(3, 0.3)))).toEqual([
      [1, ['0']],
      [2, ['0']],
      [3, ['1']],
    ]);
  });

  test('fit exactly ten times 0.1', () => {
    const handle = aWorker(12, [{ name: 'GPU', ids: ['0'], amount: 1 }]);
    const runs = Array.from({ length: 11 }, (_, index) => index + 1);
    const started = granted(handle(...runs.map((run) => asking(run, 0.1))));
    expect(started).toEqual(runs.slice(0, 10).map((run) => [run, ['0']]));
    expect(granted(handle(ended([4])))).toEqual([[11, ['0']]]);
  });

  test('never lie across two devices, though both have room enough together', () => {
    const handle = aWorker(4);
    handle(asking(1, 0.6), asking(2, 0.6));
    expect(granted(handle(asking(3, 0.8)))).toEqual([]);
    expect(granted(handle(ended([2])))).toEqual([[3, ['1']]]);
  });

  test('of half a device each leave no whole one', () => {
    const handle = aWorker(4);
    handle(asking(1, 0.6), asking(2, 0.6));
    expect(granted(handle(asking(3, 1)))).toEqual([]);
    expect(granted(handle(ended([1])))).toEqual([[3, ['0']]]);
  });

  test('go on top of whole devices', () => {
    const handle = aWorker(4);
    expect(granted(handle(asking(1, 1.5), asking(2, 0.5)))).toEqual([
      [1, ['0', '1']],
      [2, ['1']],
    ]);
  });

  test('are on the device of which the worker has a part only, where that is enough', () => {
    const handle = aWorker(4, [{ name: 'GPU', ids: ['0', '1'], amount: 1.5 }]);
    expect(granted(handle(asking(1, 0.5), asking(2, 1)))).toEqual([
      [1, ['1']],
      [2, ['0']],
    ]);
  });
});

describe('devices', () => {
  test('of several kinds are granted together or not at all', () => {
    const handle = aWorker(3, [...TWO_GPUS, { name: 'FPGA', ids: ['a'], amount: 1 }]);
    const both = [
      ['GPU', 1],
      ['FPGA', 1],
    ] as const;
    expect(granted(handle(asking(1, both), asking(2, both)))).toEqual([[1, ['0', 'a']]]);
    expect(granted(handle(ended([1])))).toEqual([[2, ['0', 'a']]]);
  });

  test('are named by resource, beside amounts that are no devices', () => {
    const handle = aWorker(1);
    const [execute] = only(
      handle(
        asking(1, [
          ['GPU', 1],
          ['MEM', 5],
        ]),
      ),
      'execute',
    );
    expect(execute?.runs[0]).toMatchObject({ devices: [['GPU', ['0']]] });
  });

  test('are kept by a run that waits without its slot, and free when it ends', () => {
    const handle = aWorker(1, [{ name: 'GPU', ids: ['0'], amount: 1 }]);
    handle(asking(1, 1), asking(2, 1));
    expect(granted(handle({ kind: 'run-seceded', nowMs: 1, run: 1 }))).toEqual([]);
    expect(granted(handle(ended([1])))).toEqual([[2, ['0']]]);
  });

  test('of a run that fails or is stopped are free again', () => {
    const handle = aWorker(1, [{ name: 'GPU', ids: ['0'], amount: 1 }]);
    handle(asking(1, 1), asking(2, 1));
    const failure = { code: 'ERR_TASK', message: 'x', origin: '', worker: null } as const;
    const failed = { run: 1, failure: { ...failure, error: null, name: null } };
    const emptied = handle({ kind: 'slot-emptied', nowMs: 1, slot: 0, failed, unstarted: [] });
    expect(granted(emptied)).toEqual([[2, ['0']]]);
  });

  test('of a run that its slot gives back unstarted are granted anew', () => {
    const handle = aWorker(2, [{ name: 'GPU', ids: ['0'], amount: 1 }]);
    handle(asking(1, 1));
    const back = handle({ kind: 'slot-emptied', nowMs: 1, slot: 0, failed: null, unstarted: [1] });
    expect(granted(back)).toEqual([[1, ['0']]]);
  });

  test('that the worker does not have fail a run at once', () => {
    const handle = aWorker(1);
    expect(messages(handle(asking(1, 3)))).toMatchObject([
      {
        op: 'run-failed',
        failure: {
          code: 'ERR_NO_WORKER',
          message: 'f takes GPU=3, worker w has fewer devices',
        },
      },
    ]);
  });
});
