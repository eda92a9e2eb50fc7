import type { StoryEntry } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';

interface Farm {
  readonly farm: SchedulerHarness;
  readonly client: FakeClient;
  readonly slow: FakeWorker;
  readonly other: FakeWorker;
  /** The future of the task that takes long. */
  readonly id: number;
  /** Its run on the worker `slow`. */
  readonly run: number;
}

const SPECULATE = [3, 1_000] as const;

/** Three tasks of one function have taken 200 ms, and a fourth runs on `slow`; `other` is idle. */
function straggling(options = {}, config = {}): Farm {
  const farm = new SchedulerHarness(config);
  const client = farm.client('c');
  const slow = farm.worker('slow', { resources: amounts({ GPU: 1 }) });
  const known = client.submit({ key: 'known', count: 3, options: { speculate: SPECULATE } });
  for (let i = 0; i < 3; i++) slow.finish('all', 200_000);
  client.release(known, known + 1, known + 2);
  const id = client.submit({ key: 'task', options: { speculate: SPECULATE, ...options } });
  const other = farm.worker('other', { resources: amounts({ GPU: 1 }) });
  expect([slow.keys(), other.keys()]).toEqual([['task'], []]);
  client.take();
  return { farm, client, slow, other, id, run: slow.runs[0]?.run ?? -1 };
}

/** The slow worker says that it executes the task, every half second. */
function beats({ farm, slow, run }: Farm, ms: number): void {
  for (let passed = 0; passed <= ms; passed += 500) {
    if (passed > 0) farm.nowMs += 500;
    slow.beat(run);
  }
}

/** The same, with its copy begun in the end. */
function copied(options = {}, config = {}): Farm {
  const it = straggling(options, config);
  beats(it, 1_500);
  expect(it.other.keys()).toEqual(['task']);
  expect(it.farm.core.statistics().runsCopied).toBe(1);
  return it;
}

function storyOf({ client }: Farm): readonly StoryEntry[] {
  const request = client.ask('story', { key: 'task' });
  const message = client.taken('reply').find((reply) => reply.request === request);
  // SAFE: it is what the scheduler answers to this question.
  return message?.answer as readonly StoryEntry[];
}

describe('a copy of a slow task', () => {
  test('is begun on an idle worker once it has taken much longer than its like', () => {
    const it = straggling();
    beats(it, 1_000);
    expect(it.other.keys()).toEqual([]);
    beats(it, 500);
    expect(it.other.keys()).toEqual(['task']);
    expect(it.other.runs[0]?.attempt).toBe(1);
    expect(it.slow.keys()).toEqual(['task']);
    expect(it.farm.core.counts()).toMatchObject({ processing: 1 });
  });

  test('is begun for nobody who has not asked for it', () => {
    const it = straggling({ speculate: null });
    beats(it, 60_000);
    expect(it.other.keys()).toEqual([]);
  });

  test('nor for a task that must not run twice', () => {
    const it = straggling({ rerunOnLoss: false });
    beats(it, 60_000);
    expect(it.other.keys()).toEqual([]);
  });

  test('nor while little is known of its function', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const slow = farm.worker('slow');
    client.submit({ key: 'known', count: 2, options: { speculate: SPECULATE } });
    for (let i = 0; i < 2; i++) slow.finish('all', 200_000);
    const id = client.submit({ key: 'task', options: { speculate: SPECULATE } });
    const other = farm.worker('other');
    const it = { farm, client, slow, other, id, run: slow.runs[0]?.run ?? -1 };
    beats(it, 60_000);
    expect(other.keys()).toEqual([]);
  });

  test('nor before the factor of the mean is passed', () => {
    const it = straggling({ speculate: [20, 0] });
    beats(it, 4_000);
    expect(it.other.keys()).toEqual([]);
    beats(it, 500);
    expect(it.other.keys()).toEqual(['task']);
  });

  test('waits until nothing else needs the worker', () => {
    const it = straggling();
    const { farm, client, other } = it;
    client.submit({ key: 'work', fn: 'g', count: 2 });
    expect(other.keys()).toEqual(['work-0']);
    beats(it, 5_000);
    expect(other.keys()).toEqual(['work-0']);
    other.finish('all', 300_000);
    expect(other.keys()).toEqual(['work-1']);
    other.finish('all', 300_000);
    expect(other.keys()).toEqual(['task']);
    expect(farm.core.counts()).toMatchObject({ processing: 1 });
  });

  test('is begun only where the task may run, with its resources', () => {
    const it = straggling({ resources: amounts({ GPU: 1 }), workers: ['slow', 'named'] });
    const { farm } = it;
    beats(it, 5_000);
    expect(it.other.keys()).toEqual([]);
    farm.worker('plain');
    const named = farm.worker('named', { nthreads: 2, resources: amounts({ GPU: 1 }) });
    expect(named.keys()).toEqual(['task']);
    const id = it.client.submit({ key: 'next', options: { resources: amounts({ GPU: 1 }) } });
    expect(it.other.keys()).toEqual(['next']);
    it.client.release(id);
    it.other.answerStops();
    const busy = { resources: amounts({ GPU: 1 }), workers: ['named'] };
    it.client.submit({ key: 'busy', options: busy });
    expect(named.keys()).toEqual(['task']);
    named.finish({ task: 'v' });
    expect(named.keys()).toEqual(['busy']);
  });

  test('goes to another machine where there is one with room', () => {
    const it = straggling();
    const { farm, client, other } = it;
    client.submit({ key: 'busy', fn: 'g' });
    expect(other.keys()).toEqual(['busy']);
    beats(it, 5_000);
    const host = 'host-of-slow';
    const events = [
      ['beside', host],
      ['beside-too', host],
      ['far', 'host-of-far'],
    ] as const;
    for (const [name, where] of events) farm.worker(name, { host: where, nthreads: 2 });
    expect(farm.workers.get('beside#2')?.keys()).toEqual(['task']);
    farm.workers.get('beside#2')?.fail('task');
    beats(it, 500);
    expect(farm.workers.get('far#4')?.keys()).toEqual(['task']);
  });

  test('has what it takes counted, and given back', () => {
    const it = copied({ resources: amounts({ GPU: 1 }) });
    const { client, other, slow, farm } = it;
    const next = client.submit({ key: 'next', options: { resources: amounts({ GPU: 1 }) } });
    expect(farm.core.counts()).toMatchObject({ queued: 1 });
    slow.finish({ task: 'v' });
    expect(slow.keys()).toEqual(['next']);
    other.answerStops();
    client.release(next);
    slow.answerStops();
    client.close();
    farm.expectEmpty();
  });

  test('is explained, and in the story', () => {
    const it = copied();
    const { client, other } = it;
    const request = client.ask('explain', { key: 'task' });
    const run = other.runs[0]?.run;
    expect(client.answer(request)).toMatchObject({
      state: 'processing',
      summary:
        `task is assigned to worker slow as run ${it.run} and executes there; ` +
        `since that takes long, also to worker other as run ${run}`,
    });
    expect(storyOf(it).at(-1)).toMatchObject({
      from: 'processing',
      to: 'processing',
      cause: 'started once more, since it has run on worker slow for 1.50 s',
      worker: 'other',
      run,
    });
  });
});

describe('of two runs of a task', () => {
  test('the copy may win: the first run is stopped, and its late result freed', () => {
    const it = copied();
    const { client, other, slow, run, id, farm } = it;
    other.finish({ task: 'from other' });
    expect(client.results().get(id)).toBe('from other');
    expect(slow.taken('stop')).toMatchObject([{ runs: [run], running: true }]);
    expect(storyOf(it).at(-1)).toMatchObject({ to: 'memory', worker: 'other' });
    const { staleReports } = farm.core.statistics();
    slow.finish({ task: 'from slow' });
    expect(farm.core.statistics().staleReports).toBe(staleReports + 1);
    expect(slow.data.size).toBe(0);
    expect(client.take()).toEqual([]);
    client.release(id);
    client.close();
    farm.expectEmpty();
    expect(other.data.size).toBe(0);
  });

  test('the first may win: the copy is stopped', () => {
    const { client, other, slow, id, farm } = copied();
    const run = other.runs[0]?.run ?? -1;
    slow.finish({ task: 'from slow' });
    expect(client.results().get(id)).toBe('from slow');
    expect(other.taken('stop')).toMatchObject([{ runs: [run], running: true }]);
    client.submit({ key: 'next', options: { workers: ['other'] } });
    expect(other.keys()).toEqual(['task']);
    other.answerStops();
    expect(other.keys()).toEqual(['next']);
    expect(farm.core.counts()).toMatchObject({ memory: 1, processing: 1 });
  });

  test('both may end in one batch: one result counts', () => {
    const { client, other, slow, id, farm } = copied();
    const events = [slow, other].map((worker) => {
      const { run, task } = worker.pull();
      worker.data.add(task);
      return {
        kind: 'worker-said',
        nowMs: farm.nowMs,
        worker: worker.session,
        message: {
          op: 'finished',
          runs: [run],
          sizes: [9_000],
          values: new Uint8Array(),
          ends: [0],
          durationsUs: [1],
        },
      } as const;
    });
    farm.handle(...events);
    expect(client.taken('results')).toHaveLength(1);
    expect([slow.data.size, other.data.size]).toEqual([1, 0]);
    client.release(id);
    other.answerStops();
    client.close();
    farm.expectEmpty();
  });

  test('one may fail: the task has not failed, and no retry is used', () => {
    for (const first of ['slow', 'other'] as const) {
      const it = copied({ retries: 1 });
      const { client, id, farm } = it;
      const left = first === 'slow' ? it.other : it.slow;
      it[first].fail('task');
      expect(client.take()).toEqual([]);
      expect(farm.core.counts()).toMatchObject({ processing: 1 });
      expect(storyOf(it).at(-1)?.cause).toContain('failed: boom; it goes on as run');
      left.fail('task');
      // Only now is it tried again.
      expect(farm.core.counts()).toMatchObject({ processing: 1, erred: 0 });
      expect(client.take()).toEqual([]);
      const last = it.slow.runs.length > 0 ? it.slow : it.other;
      expect(last.runs[0]?.attempt).toBe(2);
      last.fail('task');
      expect(client.taken('failed')).toMatchObject([{ ids: [id] }]);
    }
  });

  test('both may fail: the task fails once', () => {
    const { client, slow, other, id, farm } = copied();
    other.fail('task');
    slow.fail('task');
    expect(client.taken('failed')).toMatchObject([{ ids: [id], failure: { code: 'ERR_TASK' } }]);
    expect(farm.core.counts()).toMatchObject({ erred: 1, processing: 0 });
  });

  test('one may be lost with its worker: the other goes on', () => {
    for (const lost of ['slow', 'other'] as const) {
      const it = copied();
      const { client, id, farm } = it;
      const left = lost === 'slow' ? it.other : it.slow;
      farm.worker('third');
      it[lost].lose();
      expect(farm.core.counts()).toMatchObject({ processing: 1, waiting: 0, queued: 0 });
      expect(farm.workers.get('third#2')?.keys()).toEqual([]);
      left.finish({ task: 'v' });
      expect(client.results().get(id)).toBe('v');
    }
  });

  test('deaths are counted whichever run was on the worker', () => {
    const { client, slow, other, id } = copied({}, { allowedFailures: 1 });
    other.beat(other.runs[0]?.run ?? -1);
    other.lose();
    expect(client.take()).toEqual([]);
    slow.lose();
    const [failed] = client.taken('failed');
    expect(failed).toMatchObject({ ids: [id], failure: { code: 'ERR_KILLED_WORKER' } });
    expect(failed?.failure.message).toContain('running on 2 workers');
    expect(failed?.failure.message).toContain('slow');
    expect(failed?.failure.message).toContain('other');
  });

  test('one may be handed back, or miss an input: the other goes on', () => {
    const it = copied();
    it.other.leave();
    it.other.stopping.push(...it.other.runs.map(({ run }) => run));
    it.other.answerStops();
    expect(it.farm.core.counts()).toMatchObject({ processing: 1, waiting: 0 });
    it.slow.missInput('task', 0, []);
    // That was the last one.
    expect(it.slow.keys()).toEqual(['task']);
    expect(it.slow.runs[0]?.run).not.toBe(it.run);
  });

  test('both are stopped when nobody wants the task any more', () => {
    const { client, slow, other, id, farm } = copied();
    client.release(id);
    expect(slow.stopping).toHaveLength(1);
    expect(other.stopping).toHaveLength(1);
    slow.answerStops();
    other.answerStops();
    client.close();
    farm.expectEmpty();
  });

  test('neither is moved to another worker, although the copy has not begun', () => {
    const it = copied({ resources: amounts({ GPU: 1 }) });
    const { farm, other } = it;
    const third = farm.worker('third', { resources: amounts({ GPU: 1 }) });
    for (let i = 0; i < 10; i++) {
      farm.nowMs += 500;
      other.beat();
      it.slow.beat(it.run);
    }
    expect([...other.stopping, ...it.slow.stopping]).toEqual([]);
    expect(third.keys()).toEqual([]);
  });

  test('the one that is left may be copied again, but not for ever', () => {
    const it = copied();
    for (let i = 0; i < 10; i++) {
      if (it.other.runs.length === 0) break;
      it.other.fail('task');
      beats(it, 500);
    }
    expect(it.farm.core.statistics().runsCopied).toBe(3);
    expect(it.other.runs).toEqual([]);
    it.slow.finish({ task: 'v' });
    expect(it.client.results().get(it.id)).toBe('v');
  });

  test('a copy of the result that comes to a worker that runs the task is not freed under it', () => {
    const { client, other, id } = copied();
    const task = other.runs[0]?.task ?? -1;
    other.hold(task);
    expect(other.taken('free')).toEqual([]);
    other.finish({ task: 'v' });
    expect(client.results().get(id)).toBe('v');
    expect(other.data.has(task)).toBe(true);
  });
});

test('what makes no sense is refused', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  client.submit({ options: { speculate: [3, -1] } });
  expect(client.taken('failed')).toMatchObject([{ failure: { code: 'ERR_ARGUMENT' } }]);
});
