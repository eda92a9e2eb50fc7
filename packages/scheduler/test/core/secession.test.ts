/** Runs that wait for other tasks, and go on without a slot. */
import { seceded } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness } from './scheduler-harness.ts';

describe('a run that has seceded', () => {
  test('leaves its slot to others, and ends as any other', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 1 });
    const parent = client.submit({ key: 'parent' });
    const child = client.submit({ key: 'child' });
    expect(worker.keys()).toEqual(['parent']);
    const [run] = worker.runs;
    worker.say(seceded([run?.run ?? -1]));
    expect(worker.keys()).toEqual(['parent', 'child']);
    worker.finish({ child: '1' });
    worker.finish({ parent: '2' });
    expect(client.results()).toEqual(
      new Map([
        [child, '1'],
        [parent, '2'],
      ]),
    );
    client.release(parent, child);
    client.close();
    farm.expectEmpty();
  });

  test('says so twice, or late, without any harm', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 1 });
    client.submit({ key: 'a' });
    const run = worker.runs[0]?.run ?? -1;
    worker.say(seceded([run, run, 999]));
    worker.say(seceded([run]));
    worker.finish('all');
    worker.say(seceded([run]));
    client.submit({ key: 'b' });
    client.submit({ key: 'c' });
    expect(worker.keys()).toEqual(['b']);
  });

  test('keeps its resources', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 2, resources: [['GPU', 1]] });
    client.submit({ key: 'one', options: { resources: [['GPU', 1]] } });
    client.submit({ key: 'two', options: { resources: [['GPU', 1]] } });
    worker.say(seceded(worker.runs.map(({ run }) => run)));
    expect(worker.keys()).toEqual(['one']);
  });

  test('is run again when its worker is lost, and blamed where it executed', () => {
    const farm = new SchedulerHarness({ allowedFailures: 0 });
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 1 });
    client.submit({ key: 'parent' });
    worker.say(seceded(worker.runs.map(({ run }) => run)));
    worker.lose();
    expect(client.taken('failed')[0]?.failure.code).toBe('ERR_KILLED_WORKER');
    const gentle = new SchedulerHarness({ allowedFailures: 3 });
    const other = gentle.client('c');
    const first = gentle.worker('w1', { nthreads: 1 });
    other.submit({ key: 'parent' });
    first.say(seceded(first.runs.map(({ run }) => run)));
    first.lose();
    expect(gentle.worker('w2').keys()).toEqual(['parent']);
  });

  test('is stopped when it is cancelled, and its worker has the same slots as before', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 1 });
    const parent = client.submit({ key: 'parent' });
    const run = worker.runs[0]?.run ?? -1;
    worker.say(seceded([run]));
    client.submit({ key: 'child' });
    client.cancel(parent);
    worker.answerStops();
    client.submit({ key: 'third' });
    expect(worker.keys()).toContain('child');
    expect(worker.keys()).not.toContain('third');
  });
});
