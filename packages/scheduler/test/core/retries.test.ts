import { failure } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, userError } from './scheduler-harness.ts';

describe('retries', () => {
  test('wait longer each time where a delay is asked for', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x', options: { retries: 2, retryDelayMs: 100 } });
    a.fail('x');
    expect(a.keys()).toEqual([]);
    farm.tick(99);
    expect(a.keys()).toEqual([]);
    farm.tick(1);
    a.fail('x');
    farm.tick(199);
    expect(farm.core.counts()).toMatchObject({ waiting: 1 });
    farm.tick(1);
    a.fail('x');
    expect(client.taken('failed')).toHaveLength(1);
  });

  test('ask to be woken when the delay is over', () => {
    const farm = new SchedulerHarness();
    const a = farm.worker('a');
    farm.client('c').submit({ key: 'x', options: { retries: 1, retryDelayMs: 100 } });
    farm.others();
    a.fail('x');
    expect(farm.others()).toContainEqual({ do: 'wake-at', atMs: farm.nowMs + 100 });
  });

  test('are for the errors that are named, by code or by name', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    const options = { retries: 5, retryOn: ['TypeError', 'ERR_COMMAND'] };
    client.submit({ key: 'x', options });
    a.fail('x', failure('ERR_COMMAND', 'exit code 1', 'x', null, null));
    a.fail('x', failure('ERR_TASK', 'boom', 'x', null, null, 'TypeError'));
    expect(a.keys()).toEqual(['x']);
    a.fail('x', failure('ERR_TASK', 'boom', 'x', null, null, 'RangeError'));
    expect(client.taken('failed')[0]?.failure).toMatchObject({ name: 'RangeError' });
  });

  test('prefer another worker, and take the same where there is no other', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    client.submit({ key: 'x', options: { retries: 2 } });
    a.fail('x');
    expect(b.keys()).toEqual(['x']);
    a.lose();
    b.fail('x');
    expect(b.keys()).toEqual(['x']);
  });

  test('a task errs with its input, though it waits for its retry', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const a = farm.worker('a');
    const x = client.submit({ key: 'x', options: { rerunOnLoss: false } });
    const y = client.submit({ key: 'y', deps: [[x]], options: { retries: 1, retryDelayMs: 100 } });
    a.finishLarge('x', 5_000);
    a.fail('y');
    a.lose();
    const failed = client.taken('failed');
    expect(failed.flatMap(({ ids }) => ids).toSorted()).toEqual([x, y]);
    expect(failed.at(-1)?.failure).toMatchObject({ code: 'ERR_LOST_DATA', origin: 'x' });
    farm.tick(100);
    client.close();
    farm.expectEmpty();
  });

  test('a task that is released while it waits for its retry is forgotten', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    const x = client.submit({ key: 'x', options: { retries: 1, retryDelayMs: 100 } });
    a.fail('x', userError('x'));
    client.release(x);
    farm.tick(100);
    client.close();
    expect(a.keys()).toEqual([]);
    farm.expectEmpty();
  });
});

describe('tasks that must not run twice', () => {
  const options = { rerunOnLoss: false };

  test('err when their worker is lost, while others run again', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 2 });
    const once = client.submit({ key: 'once', options });
    client.submit({ key: 'again' });
    a.lose();
    const b = farm.worker('b', { nthreads: 2 });
    expect(b.keys()).toEqual(['again']);
    const [failed] = client.taken('failed');
    expect(failed).toMatchObject({ ids: [once], failure: { code: 'ERR_KILLED_WORKER' } });
    expect(failed?.failure.message).toMatch(/once may have run on a when .*rerunOnLoss is false/);
  });

  test('run elsewhere when their worker hands them back unstarted', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'once', options });
    const run = a.pull('once');
    a.say({ op: 'stopped', runs: [run.run], kept: [] });
    expect(a.keys()).toEqual(['once']);
    expect(client.taken('failed')).toEqual([]);
  });

  test('are never sent ahead of a free slot', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'short' });
    a.finish('all', 100);
    client.submit({ key: 'm', count: 5, options });
    expect(a.keys()).toEqual(['m-0']);
  });

  test('err when their result is lost, and run again only if the user says so', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const a = farm.worker('a');
    const once = client.submit({ key: 'once', options });
    a.finishLarge('once', 5_000);
    const b = farm.worker('b');
    a.lose();
    const [failed] = client.taken('failed');
    expect(failed).toMatchObject({ ids: [once], failure: { code: 'ERR_LOST_DATA' } });
    expect(b.keys()).toEqual([]);
    client.retry(once);
    expect(b.keys()).toEqual(['once']);
  });
});

describe('deaths', () => {
  const previousDeath = {
    pid: 1,
    exitCode: null,
    signal: 'SIGKILL',
    rssBytes: 512 * 2 ** 20,
    logTail: 'out of memory\n',
  };

  test('a failure tells of each death worker, host, signal, memory and last log lines', () => {
    const farm = new SchedulerHarness({ allowedFailures: 1 });
    const client = farm.client('c');
    const nanny = { nanny: true, host: 'h' };
    client.submit({ key: 'deadly' });
    farm.worker('a', { ...nanny, pid: 7 }).lose('connection closed');
    farm.worker('a', { ...nanny, pid: 1, previousDeath: { ...previousDeath, pid: 7 } }).lose();
    expect(client.taken('failed')).toEqual([]);
    expect(farm.core.counts()).toMatchObject({ waiting: 1 });
    const told = { ...previousDeath, exitCode: 3, signal: null };
    farm.worker('a', { ...nanny, pid: 2, previousDeath: told });
    const [failed] = client.taken('failed');
    expect(failed?.failure.message).toContain(
      'a on h (pid 7): connection closed, signal SIGKILL, 512 MiB of memory, ' +
        'last log lines: out of memory; a on h (pid 1): connection closed, exit code 3',
    );
  });

  test('a failure does not wait for ever for what a nanny may tell', () => {
    const farm = new SchedulerHarness({ allowedFailures: 0, deathDetailsMs: 1_000 });
    const client = farm.client('c');
    client.submit({ key: 'deadly' });
    farm.worker('a', { nanny: true }).lose();
    farm.tick(999);
    expect(client.taken('failed')).toEqual([]);
    farm.tick(1);
    expect(client.taken('failed')[0]?.failure.code).toBe('ERR_KILLED_WORKER');
  });

  test('without a nanny it is told at once, with the memory of the last heartbeat', () => {
    const farm = new SchedulerHarness({ allowedFailures: 0 });
    const client = farm.client('c');
    client.submit({ key: 'deadly' });
    const a = farm.worker('a');
    const metrics = { rssBytes: 2 ** 30, storedBytes: 0, cpu: 0, loopLagMs: 0, executing: 1 };
    a.say({
      op: 'worker-heartbeat',
      metrics: { ...metrics, queued: 0, spilledBytes: 0, paused: false },
      executing: [],
    });
    a.lose();
    expect(client.taken('failed')[0]?.failure.message).toContain('1024 MiB of memory');
  });
});
