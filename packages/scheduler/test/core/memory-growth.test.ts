import { describe, expect, test } from 'vitest';

import { amounts, type FakeWorker, memoryError, SchedulerHarness } from './scheduler-harness.ts';

// Goal: a task that took more memory than it asked for asks for more where its submitter wants that,
// until it is enough or no worker has more; the rest of its block asks for what it did.

const GB = 1e9;
const GROWS = { resources: amounts({ memory: GB }), growMemory: 2 };

/** What the run of a key was granted. */
function memoryOf(worker: FakeWorker, key: string): number | undefined {
  const run = worker.runs.find((told) => told.key === key);
  return run?.resources.find(([name]) => name === 'memory')?.[1];
}

describe('a task that took more memory than it asked for', () => {
  test('asks for more by its factor, is told as much, and uses no retry', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: 8 * GB });
    client.submit({ key: 'x', options: { ...GROWS, retries: 1 } });
    expect(memoryOf(a, 'x')).toBe(GB);
    a.fail('x', memoryError('x'));
    expect(memoryOf(a, 'x')).toBe(2 * GB);
    a.fail('x', memoryError('x'));
    expect(memoryOf(a, 'x')).toBe(4 * GB);
    expect(a.runs[0]?.attempt).toBe(3);
    a.fail('x');
    expect(memoryOf(a, 'x')).toBe(4 * GB);
    a.finish('all');
    expect(client.taken('results')).toHaveLength(1);
    client.close();
    farm.expectEmpty();
  });

  test('goes where there is room for that, beside what others of its block take', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const small = farm.worker('small', { nthreads: 2, memoryLimitBytes: 2 * GB });
    client.submit({ key: 'm', count: 4, options: GROWS });
    const large = farm.worker('large', { nthreads: 4, memoryLimitBytes: 4 * GB });
    expect([small.keys(), large.keys()]).toEqual([
      ['m-0', 'm-1'],
      ['m-2', 'm-3'],
    ]);
    small.fail('m-0', memoryError('m-0'));
    expect(memoryOf(large, 'm-0')).toBe(2 * GB);
    large.fail('m-2', memoryError('m-2'));
    // 3 GB of it are taken, and small has one of its two.
    expect([small.keys(), large.keys()]).toEqual([['m-1'], ['m-3', 'm-0']]);
    small.finish('all');
    expect(memoryOf(small, 'm-2')).toBe(2 * GB);
    small.finish('all');
    large.finish('all');
    expect(client.taken('results').flatMap(({ ids }) => ids)).toHaveLength(4);
    client.close();
    farm.expectEmpty();
  });

  test('asks for all that the largest worker has at last, then fails and says so', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: GB });
    farm.worker('other', { memoryLimitBytes: 9 * GB });
    const b = farm.worker('b', { memoryLimitBytes: 1.5 * GB });
    client.submit({ key: 'x', options: { ...GROWS, workers: ['a', 'b'] } });
    (memoryOf(a, 'x') === undefined ? b : a).fail('x', memoryError('x'));
    expect(memoryOf(b, 'x')).toBe(1.5 * GB);
    b.fail('x', memoryError('x'));
    expect(client.taken('failed')[0]?.failure).toMatchObject({
      code: 'ERR_MEMORY_LIMIT',
      name: 'MemoryLimitExceeded',
      message: expect.stringMatching(/^x: took more; .* no worker .* has more/) as string,
    });
    client.close();
    farm.expectEmpty();
  });

  test('is tried again as often as it may when it cannot ask for more', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: GB });
    client.submit({ key: 'x', options: { ...GROWS, retries: 1 } });
    a.fail('x', memoryError('x'));
    expect(memoryOf(a, 'x')).toBe(GB);
    a.fail('x', memoryError('x'));
    expect(client.taken('failed')).toHaveLength(1);
  });

  test('fails at once without the option', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: 8 * GB });
    client.submit({ key: 'x', options: { resources: amounts({ memory: GB }) } });
    a.fail('x', memoryError('x'));
    expect(client.taken('failed')[0]?.failure.message).toBe('x: took more');
  });

  test('does not ask for more where it failed by something else', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: 8 * GB });
    client.submit({ key: 'x', options: GROWS });
    a.fail('x');
    expect(client.taken('failed')).toHaveLength(1);
  });
});

describe('a task that asks for more', () => {
  test('says so in its story and in what explains it', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: 2 ** 31 });
    const options = { resources: amounts({ memory: 2 ** 30 }), growMemory: 2 };
    client.submit({ key: 'x', options });
    a.fail('x', memoryError('x'));
    a.leave();
    a.lose();
    const b = farm.worker('b', { memoryLimitBytes: 2 ** 30 });
    const story = client.answer(client.ask('story', { key: 'x' }));
    expect(story).toContainEqual(
      expect.objectContaining({
        to: 'waiting',
        cause: 'run failed, again with 2048 MiB of memory instead of 1024 MiB: x: took more',
      }),
    );
    expect(client.answer(client.ask('explain', { key: 'x' }))).toMatchObject({
      state: 'no-worker',
      summary: 'x needs 1 thread, memory=2147483648, and no connected worker offers that',
      workers: [{ worker: 'b', reason: expect.stringContaining('too little memory') as string }],
    });
    expect(b.keys()).toEqual([]);
  });

  test('waits for a worker that has it, and is not held up by those that do not', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: 2 * GB });
    client.submit({ key: 'x', options: GROWS });
    a.fail('x', memoryError('x'));
    a.lose();
    expect(farm.core.counts()).toMatchObject({ 'no-worker': 1 });
    const small = farm.worker('small', { memoryLimitBytes: GB });
    client.submit({ key: 'y', options: GROWS });
    expect(small.keys()).toEqual(['y']);
    const b = farm.worker('b', { memoryLimitBytes: 2 * GB });
    expect(memoryOf(b, 'x')).toBe(2 * GB);
  });

  test('does so again when its result is lost', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: 4 * GB });
    client.submit({ key: 'x', options: GROWS });
    a.fail('x', memoryError('x'));
    a.finishLarge('x', 5_000);
    a.lose();
    const b = farm.worker('b', { memoryLimitBytes: 4 * GB });
    expect(memoryOf(b, 'x')).toBe(2 * GB);
  });

  test('begins with what it was submitted with when the client has it retried', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: 2 * GB });
    const x = client.submit({ key: 'x', options: GROWS });
    a.fail('x', memoryError('x'));
    a.fail('x', memoryError('x'));
    client.retry(x);
    expect(memoryOf(a, 'x')).toBe(GB);
    client.close();
    a.answerStops();
    farm.expectEmpty();
  });

  test('is forgotten with what it asked for, wherever it is', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 2, memoryLimitBytes: 2 * GB });
    const first = client.submit({ key: 'm', count: 2, options: GROWS });
    a.fail('m-0', memoryError('m-0'));
    a.fail('m-1', memoryError('m-1'));
    expect(farm.core.counts()).toMatchObject({ processing: 1, queued: 1 });
    client.release(first, first + 1);
    client.close();
    a.answerStops();
    farm.expectEmpty();
  });
});

test.each([
  [{ growMemory: 1 }, 'growMemory is 1: give a number above 1'],
  [{ growMemory: Infinity }, 'growMemory is Infinity: give a number above 1'],
  [{ growMemory: 2, resources: [] }, 'growMemory is given, but no memory to begin with'],
])('%j is refused', (options, why) => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  client.submit({ key: 'x', options: { resources: amounts({ memory: GB }), ...options } });
  expect(client.taken('failed')[0]?.failure).toMatchObject({
    code: 'ERR_ARGUMENT',
    message: `x: ${why}`,
  });
});
