import { failure, getRelayed, getResult } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, bytes, text, userError } from './scheduler-harness.ts';

describe('kept values', () => {
  test('they are bounded in total; beyond, the worker keeps them', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 1_000 });
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 20 });
    client.submit({ key: 'm', count: 20 });
    worker.finish();
    expect(client.results().size).toBe(20);
    const { values, valueBytes } = farm.core.statistics();
    expect(values).toBe(9);
    expect(valueBytes).toBeLessThanOrEqual(1_000);
    client.say(getResult(1, 0, 0, 100), getResult(2, 19, 0, 100));
    const asker = { role: 'client', session: 'c' } as const;
    expect(farm.others()).toEqual([
      {
        do: 'send-data',
        asker: { ...asker, request: 1 },
        totalBytes: 6,
        offset: 0,
        bytes: bytes('r(m-0)'),
      },
      {
        do: 'relay-data',
        asker: { ...asker, request: 2 },
        worker: worker.session,
        task: 20,
        offset: 0,
        length: 100,
      },
    ]);
    client.close();
    farm.expectEmpty();
  });

  test('their room is used again, and the values left are untouched', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 300 });
    const first = client.submit({ key: 'm', count: 300 });
    const value = (index: number): string => `${index}`.repeat(40);
    const results = Array.from({ length: 300 }, (_, index) => [`m-${index}`, value(index)]);
    worker.finish(Object.fromEntries(results) as Record<string, string>);
    for (let index = 0; index < 300; index++) if (index % 7 !== 0) client.release(first + index);
    for (let index = 0; index < 300; index += 7) {
      client.say(getResult(index, first + index, 0, 1_000));
      const [sent] = farm.others();
      expect(sent?.do === 'send-data' ? text(sent.bytes) : '').toBe(value(index));
    }
    client.close();
    farm.expectEmpty();
  });
});

describe('requests for bytes', () => {
  const asker = { role: 'client', session: 'c', request: 5 } as const;

  test('a part of a kept value is answered at once', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    farm.worker('w');
    client.submit({ key: 'x' });
    farm.workers.get('w#0')?.finish({ x: 'abcdef' });
    client.say(getResult(5, 0, 2, 3));
    expect(farm.others()).toEqual([
      { do: 'send-data', asker, totalBytes: 6, offset: 2, bytes: bytes('cde') },
    ]);
  });

  test('what is not there is refused, with the reason', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const why = userError('bad');
    client.submit({ key: 'bad' });
    worker.fail('bad', why);
    client.submit({ key: 'pending' });
    client.say(getResult(5, 9, 0, 1), getResult(5, 0, 0, 1), getResult(5, 1, 0, 1));
    const refusals = farm
      .others()
      .map((other) => (other.do === 'refuse-data' ? other.failure : null));
    expect(refusals).toEqual([
      expect.objectContaining({ code: 'ERR_FOREIGN_FUTURE' }),
      { ...why, worker: 'w' },
      failure(
        'ERR_LOST_DATA',
        'pending is processing: its result is not in memory',
        'pending',
        null,
        null,
      ),
    ]);
  });

  test('a worker gets inputs relayed from another holder than itself', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    client.submit({ key: 'x' });
    a.finishLarge('x', 5_000);
    b.say(getRelayed(1, 1, 0, 10));
    expect(farm.others()).toEqual([
      {
        do: 'relay-data',
        asker: { role: 'worker', session: b.session, request: 1 },
        worker: a.session,
        task: 1,
        offset: 0,
        length: 10,
      },
    ]);
    a.say(getRelayed(2, 1, 0, 10), getRelayed(3, 77, 0, 10));
    expect(farm.others()).toEqual([
      expect.objectContaining({ do: 'refuse-data' }),
      expect.objectContaining({ do: 'refuse-data' }),
    ]);
  });
});
