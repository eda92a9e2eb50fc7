import { seceded } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { ResourcePool } from '../../src/core/resources.ts';
import type { DeviceGrant, ResourceNeed } from '../../src/core/resources.ts';
import { SchedulerHarness, amounts } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';

function need(gpus: number): readonly ResourceNeed[] {
  return [{ name: 'GPU', units: Math.round(gpus * 10_000) }];
}

function gpus(amount: number): ResourcePool {
  return new ResourcePool([['GPU', amount]], ['GPU']);
}

/** Takes it, and tells which devices; null where they are not free. */
function take(pool: ResourcePool, amount: number): readonly number[] | null {
  if (!pool.canHold(need(amount))) return null;
  return placesOf(pool.take(need(amount)));
}

function placesOf(grant: DeviceGrant): readonly number[] {
  return grant?.get('GPU')?.map(({ place }) => place) ?? [];
}

describe('whole devices', () => {
  test('are the free ones that come first', () => {
    const pool = gpus(3);
    const first = pool.take(need(1));
    expect(placesOf(first)).toEqual([0]);
    expect(take(pool, 1)).toEqual([1]);
    pool.giveBack(need(1), first);
    expect(take(pool, 2)).toEqual([0, 2]);
    expect(take(pool, 1)).toBeNull();
  });
});

describe('shares of devices', () => {
  test('share one device before they take another', () => {
    const pool = gpus(2);
    expect([0.5, 0.5, 0.3].map((amount) => take(pool, amount))).toEqual([[0], [0], [1]]);
  });

  test('go where least is left, so that others stay whole', () => {
    const pool = gpus(3);
    expect([0.4, 1, 0.7, 0.2].map((amount) => take(pool, amount))).toEqual([[0], [1], [2], [2]]);
  });

  test('fit exactly ten times 0.1', () => {
    const pool = gpus(1);
    for (let at = 0; at < 10; at++) expect(take(pool, 0.1)).toEqual([0]);
    expect(take(pool, 0.1)).toBeNull();
  });

  test('never lie across two devices, though both have room enough together', () => {
    const pool = gpus(2);
    take(pool, 0.6);
    const second = pool.take(need(0.6));
    expect(take(pool, 0.8)).toBeNull();
    expect(take(pool, 1)).toBeNull();
    pool.giveBack(need(0.6), second);
    expect(take(pool, 0.8)).toEqual([1]);
  });

  test('go on top of whole devices, on another one', () => {
    const pool = gpus(2);
    expect(take(pool, 1.5)).toEqual([0, 1]);
    expect(take(pool, 0.5)).toEqual([1]);
  });

  test('are on the device of which the worker has a part only, where that is enough', () => {
    const pool = gpus(1.5);
    expect(take(pool, 0.5)).toEqual([1]);
    expect(take(pool, 1)).toEqual([0]);
  });
});

describe('a pool', () => {
  test('that is empty holds every amount up to its own', () => {
    for (let capacity = 1; capacity <= 35; capacity++) {
      for (let amount = 1; amount <= capacity; amount++) {
        expect(gpus(capacity / 10).canHold(need(amount / 10)), `${amount} of ${capacity}`).toBe(
          true,
        );
      }
    }
  });

  test('tells how often a need fits, and looks no further than it is asked to', () => {
    const times = (capacity: number, amount: number, most = 99): number => {
      return gpus(capacity).timesHeld({ name: 'GPU', units: amount * 10_000 }, most);
    };
    expect(times(3, 0.6)).toBe(3);
    expect(times(3, 1.5)).toBe(2);
    expect(times(2.5, 0.25)).toBe(10);
    expect(times(4, 1, 3)).toBe(3);
    const memory = new ResourcePool([['MEM', 10]]);
    expect(memory.timesHeld({ name: 'MEM', units: 40_000 }, 99)).toBe(2);
  });

  test('tells whether a need fits beside another', () => {
    const pool = gpus(2);
    const beside = (amount: number, taken: number): boolean => {
      return pool.canHoldBeside({ name: 'GPU', units: amount * 10_000 }, taken * 10_000);
    };
    expect(beside(1, 1)).toBe(true);
    expect(beside(1.5, 0.5)).toBe(true);
    take(pool, 0.4);
    expect(beside(1, 0.6)).toBe(true);
    expect(beside(1, 0.7)).toBe(false);
    // 1.6 are free, and 0.8 would be left: in two parts.
    expect(beside(0.7, 0.9)).toBe(false);
    expect(pool.devices('GPU')?.free()).toEqual([6_000, 10_000]);
  });
});

class Farm {
  readonly farm = new SchedulerHarness();
  readonly client: FakeClient = this.farm.client('c');

  worker(name: string, count: number): FakeWorker {
    const resources = amounts({ GPU: count });
    return this.farm.worker(name, { nthreads: 8, resources, devices: ['GPU'] });
  }

  submit(key: string, gpus: number): number {
    return this.client.submit({ key, options: { resources: amounts({ GPU: gpus }) } });
  }
}

/** Keys of the runs a worker was given, with the places of their devices. */
function granted(worker: FakeWorker): readonly unknown[] {
  return worker
    .take()
    .flatMap((message) => (message.op === 'run' ? [[message.key, message.devices?.[0]?.[0]]] : []));
}

describe('the scheduler', () => {
  test('grants devices with the run, and grants them anew when it is over', () => {
    const f = new Farm();
    const worker = f.worker('w', 2);
    f.submit('one', 1);
    f.submit('half', 0.5);
    f.submit('other', 1);
    expect(granted(worker)).toEqual([
      ['one', [0]],
      ['half', [1]],
    ]);
    worker.finish({ one: '1' });
    expect(granted(worker)).toEqual([['other', [0]]]);
  });

  test('sends no task where enough is free in parts only, and says so', () => {
    const f = new Farm();
    const worker = f.worker('w', 2);
    f.submit('a', 0.6);
    f.submit('b', 0.6);
    f.submit('large', 0.8);
    expect(granted(worker)).toEqual([
      ['a', [0]],
      ['b', [1]],
    ]);
    expect(f.client.answer(f.client.ask('explain', { key: 'large' }))).toMatchObject({
      state: 'queued',
      workers: [
        {
          worker: 'w',
          reason:
            'full: 0.8 GPU is free, 0.8 is needed, and not as 0.4 + 0.4: a share lies on one device',
        },
      ],
    });
    const other = f.worker('v', 1);
    expect(granted(other)).toEqual([['large', [0]]]);
  });

  test('keeps the devices of a run that was given up until the worker says that it is gone', () => {
    const f = new Farm();
    const worker = f.worker('w', 1);
    const first = f.submit('first', 1);
    f.submit('second', 1);
    expect(granted(worker)).toEqual([['first', [0]]]);
    f.client.release(first);
    expect(granted(worker)).toEqual([]);
    worker.answerStops();
    expect(granted(worker)).toEqual([['second', [0]]]);
  });

  test('keeps the devices of a run that waits for others', () => {
    const f = new Farm();
    const worker = f.worker('w', 1);
    f.submit('parent', 1);
    f.submit('child', 1);
    expect(granted(worker)).toEqual([['parent', [0]]]);
    worker.say(seceded([worker.runs[0]?.run ?? -1]));
    expect(granted(worker)).toEqual([]);
    worker.finish({ parent: '1' });
    expect(granted(worker)).toEqual([['child', [0]]]);
  });

  test('sends a worker away that says it has more devices than may be', () => {
    const f = new Farm();
    const worker = f.worker('w', 2_000);
    expect(worker.take()).toMatchObject([
      { op: 'close-worker', reason: 'worker w has 2000 devices GPU: at most 1024 may be' },
    ]);
  });
});
