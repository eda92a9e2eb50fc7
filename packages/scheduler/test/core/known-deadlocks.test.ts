/**
 * Goal: the situations in which Dask's scheduler and workers have got stuck or have gone wrong over
 * the years, each with what has to happen instead. Numbers are those of dask/distributed.
 */
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts, sorted } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';

interface Farm {
  readonly farm: SchedulerHarness;
  readonly client: FakeClient;
  readonly worker: FakeWorker;
}

/** A worker with one task executing and `count` more sent ahead, all short and plain. */
function loaded(count: number): Farm {
  const farm = new SchedulerHarness({ prefetchTargetMs: 1_000 });
  const client = farm.client('c');
  const worker = farm.worker('victim');
  const first = client.submit({ key: 'first' });
  worker.finish('all', 100_000);
  client.release(first);
  client.submit({ key: 'm', count: count + 1 });
  expect(worker.runs).toHaveLength(count + 1);
  return { farm, client, worker };
}

/** All workers end what they have until nothing is left to run. */
function finishAll(...workers: readonly FakeWorker[]): void {
  for (let round = 0; round < 100; round++) {
    if (workers.every(({ runs, stopping }) => runs.length + stopping.length === 0)) return;
    for (const worker of workers) {
      worker.answerStops();
      worker.finish('all', 100_000);
    }
  }
  expect.unreachable('it never ends');
}

describe('a steal and its confirmation', () => {
  test('whatever overtakes the answer, each task runs and ends once (#5379, #8787)', () => {
    const answers = ['given up', 'kept', 'finished first', 'failed first', 'lost'] as const;
    for (const answer of answers) {
      for (const between of ['nothing', 'thief dies', 'thief is busy', 'cancelled'] as const) {
        const { farm, client, worker } = loaded(10);
        const thief = farm.worker('thief');
        const asked = [...worker.stopping];
        expect(asked.length, 'something is asked for').toBeGreaterThan(0);
        const [run] = asked;
        const stolen = worker.runs.find((told) => told.run === run);
        if (between === 'thief dies') thief.lose();
        if (between === 'thief is busy') client.submit({ key: 'busy', fn: 'long' });
        const index = Number(stolen?.key.slice(2));
        if (between === 'cancelled') client.cancel(1 + index);
        if (answer === 'given up') worker.answerStops();
        if (answer === 'kept') worker.keepRuns();
        if (answer === 'finished first') worker.finish({ [stolen?.key ?? '']: 'v' }, 100_000);
        if (answer === 'failed first') worker.fail(stolen?.key ?? '');
        const last = farm.worker('last');
        if (answer === 'lost') worker.lose();
        finishAll(worker, thief, last);
        const { processing, queued, waiting, memory, erred } = farm.core.counts();
        const ended = memory + erred + (between === 'cancelled' ? 1 : 0);
        expect([processing, queued, waiting], `${answer}, ${between}`).toEqual([0, 0, 0]);
        expect(ended, `${answer}, ${between}`).toBe(between === 'thief is busy' ? 12 : 11);
        client.close();
        worker.answerStops();
        farm.expectEmpty();
      }
    }
  });

  test('a task that fails to be decoded at the thief fails there, and nowhere again (#5128)', () => {
    const { farm, client, worker } = loaded(10);
    const thief = farm.worker('thief');
    worker.answerStops();
    const [moved] = thief.keys();
    thief.fail(moved ?? '');
    expect(client.taken('failed')).toHaveLength(1);
    finishAll(worker, thief);
    expect(farm.core.counts()).toMatchObject({ memory: 10, erred: 1, processing: 0 });
    expect(farm.core.statistics().staleReports).toBe(0);
  });

  test('a task with resources is not moved, and its amounts stay with its worker (#4446)', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const resources = amounts({ GPU: 1 });
    const a = farm.worker('a', { nthreads: 4, resources });
    client.submit({ key: 'm', count: 6, options: { resources } });
    const b = farm.worker('b', { nthreads: 4, resources });
    for (let round = 0; round < 5; round++) farm.tick(500);
    expect([a.keys(), b.keys(), a.stopping]).toEqual([['m-0'], ['m-1'], []]);
    a.lose();
    for (let left = 5; left > 0; left--) {
      expect(b.runs).toHaveLength(1);
      b.finish('all', 100_000);
    }
    finishAll(b);
    expect(farm.core.counts()).toMatchObject({ memory: 6 });
  });
});

describe('inputs that vanish', () => {
  test('a fetch that fails after its task was placed anew does no harm (#4929, #5786)', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const [a, b, c] = [farm.worker('a'), farm.worker('b'), farm.worker('c')];
    const x = client.submit({ key: 'x', options: { workers: ['a'], allowOtherWorkers: true } });
    a.finishLarge('x', 5_000);
    client.submit({ key: 'y', deps: [[x]], options: { workers: ['b', 'c'] } });
    const [first] = b.runs;
    expect(first?.key).toBe('y');
    // The holder dies, and the input is made elsewhere before anybody says that it is missing.
    a.lose();
    expect(farm.core.counts()).toMatchObject({ processing: 2, waiting: 0 });
    expect(c.keys()).toEqual(['x']);
    c.finishLarge('x', 5_000);
    client.take();
    b.missInput('y', first?.inputs[0]?.task ?? -1, ['tcp://a:1']);
    // The holder that was asked is gone: the other is believed, and nothing is made a third time.
    expect(client.taken('recomputing')).toEqual([]);
    finishAll(b, c);
    expect(farm.core.counts()).toMatchObject({ memory: 2, processing: 0 });
    expect(farm.core.statistics().runs).toBe(4);
  });

  test('an input that vanishes while it is fetched is made again, once (#6112)', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b', { nthreads: 3 })];
    const x = client.submit({ key: 'x', options: { workers: ['a'], allowOtherWorkers: true } });
    a.finishLarge('x', 5_000);
    const options = { workers: ['b'] };
    client.submit({ key: 'y', count: 3, deps: [[x], [x], [x]], options });
    expect(b.runs).toHaveLength(3);
    const task = b.runs[0]?.inputs[0]?.task ?? -1;
    a.lose();
    for (const key of ['y-0', 'y-1', 'y-2']) b.missInput(key, task, ['tcp://a:1']);
    expect(b.keys().filter((key) => key === 'x')).toEqual(['x']);
    finishAll(b);
    expect(farm.core.counts()).toMatchObject({ memory: 4 });
    expect(farm.core.statistics().runs).toBe(1 + 3 + 1 + 3);
  });

  test('a copy that is announced after its result was given up and made again is sound (#5157)', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    const x = client.submit({ key: 'x', options: { workers: ['a'] } });
    a.finishLarge('x', 5_000);
    client.submit({ key: 'y', deps: [[x]], options: { workers: ['b'] } });
    const task = b.runs[0]?.inputs[0]?.task ?? -1;
    client.cancel(x + 1);
    client.release(x);
    expect(b.stopping).toHaveLength(1);
    // What b had fetched is announced, although nobody wants it.
    b.hold(task);
    expect(b.data.has(task)).toBe(false);
    b.answerStops();
    const again = client.submit({ key: 'x', options: { workers: ['a'] } });
    finishAll(a, b);
    expect(client.results().get(again)).toBe('r(x)');
    client.close();
    farm.expectEmpty();
  });
});

test('an erred task is forgotten with its future, and the same key runs again (#4784, #5497)', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w');
  for (let round = 0; round < 3; round++) {
    const x = client.submit({ key: 'x' });
    const y = client.submit({ key: 'y', deps: [[x]] });
    expect(worker.keys()).toEqual(['x']);
    if (round < 2) worker.fail('x');
    else finishAll(worker);
    expect(farm.core.counts()).toMatchObject(round < 2 ? { erred: 2 } : { memory: 2 });
    // Whichever goes first: that of the dependent keeps the other known, no longer.
    client.release(round === 0 ? x : y);
    client.release(round === 0 ? y : x);
    const { released, erred, waiting } = farm.core.counts();
    expect([released, erred, waiting]).toEqual([0, 0, 0]);
  }
  client.close();
  farm.expectEmpty();
});

test('an erred input that is released while its dependents wait errs them all (#5503, #5525)', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w', { nthreads: 2 });
  const bad = client.submit({ key: 'bad' });
  const slow = client.submit({ key: 'slow' });
  const sum = client.submit({ key: 'sum', deps: [[bad, slow]] });
  client.release(bad);
  worker.fail('bad');
  expect(client.taken('failed').flatMap(({ ids }) => ids)).toEqual([sum]);
  const next = client.submit({ key: 'next', deps: [[slow]] });
  finishAll(worker);
  expect([...client.results().keys()]).toEqual(expect.arrayContaining([slow, next]));
  client.close();
  farm.expectEmpty();
});

test('in whatever state a graph is, its release leaves nothing behind (#5482, #5507)', () => {
  for (let steps = 0; steps < 12; steps++) {
    for (const isBackwards of [false, true]) {
      const farm = new SchedulerHarness();
      const client = farm.client('c');
      const [a, b] = [farm.worker('a'), farm.worker('b')];
      const roots = client.submit({ key: 'root', count: 4 });
      const sums = client.submit({
        key: 'sum',
        count: 2,
        deps: [
          [roots, roots + 1],
          [roots + 2, roots + 3],
        ],
      });
      client.submit({ key: 'top', deps: [[sums, sums + 1]] });
      for (let step = 0; step < steps; step++) {
        const worker = step % 2 === 0 ? a : b;
        const [run] = worker.runs;
        if (run !== undefined) worker.finish({ [run.key]: 'v' }, 1e6);
      }
      const ids = Array.from({ length: client.nextId }, (_, id) => id);
      for (const id of isBackwards ? ids.toReversed() : ids) client.release(id);
      for (const worker of [a, b]) worker.answerStops();
      expect([a.data.size, b.data.size]).toEqual([0, 0]);
      client.close();
      farm.expectEmpty();
    }
  }
});

test('given up and wanted again, many times over, while it runs (#6673)', () => {
  for (const end of ['finish', 'fail', 'stop', 'lose'] as const) {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 2 });
    const x = client.submit({ key: 'x' });
    worker.finishLarge('x', 5_000);
    let id = client.submit({ key: 'y', fn: 'g', deps: [[x]] });
    for (let flip = 0; flip < 5; flip++) {
      client.cancel(id);
      id = client.submit({ key: 'y', fn: 'g', deps: [[x]] });
    }
    // Both slots are taken by runs that are being stopped; the last one waits.
    expect([worker.runs.length, worker.stopping.length]).toEqual([2, 2]);
    expect(farm.core.counts().queued).toBe(1);
    const other = farm.worker('other', { nthreads: 2 });
    if (end === 'finish') worker.finish({ y: 'late' });
    if (end === 'fail') worker.fail('y');
    if (end === 'lose') worker.lose();
    finishAll(worker, other);
    expect(client.results().get(id), `then ${end}`).toBe('r(y)');
    expect(farm.core.counts()).toMatchObject({ processing: 0, queued: 0, waiting: 0, erred: 0 });
    client.close();
    farm.expectEmpty();
  }
});

describe('queued tasks', () => {
  test('that are released and submitted again at once run (#7348)', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'busy' });
    let first = client.submit({ key: 'm', count: 5 });
    for (let round = 0; round < 3; round++) {
      client.release(...Array.from({ length: 5 }, (_, i) => first + i));
      first = client.submit({ key: 'm', count: 5 });
    }
    expect(farm.core.counts()).toMatchObject({ processing: 1, queued: 5 });
    finishAll(worker);
    expect(sorted(client.results().keys()).slice(-5)).toEqual([16, 17, 18, 19, 20]);
  });

  test('that are released while their input is lost leave no trace (#8703)', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    const x = client.submit({ key: 'x' });
    a.finishLarge('x', 5_000);
    client.submit({ key: 'busy', count: 2, fn: 'long' });
    const y = client.submit({ key: 'y', deps: [[x]], options: { resources: [['threads', 1]] } });
    client.release(x);
    expect(farm.core.counts()).toMatchObject({ processing: 2, queued: 1, memory: 1 });
    client.release(y);
    expect(farm.core.counts()).toMatchObject({ processing: 2, queued: 0, memory: 0 });
    expect(a.data.size).toBe(0);
    const again = client.submit({ key: 'x' });
    a.lose();
    finishAll(b);
    expect(client.results().get(again)).toBe('r(x)');
    client.close();
    farm.expectEmpty();
  });
});

describe('workers that come back', () => {
  const config = { workerLeaseMs: 5_000, inlineTotalBytesMax: 0 } as const;

  test('with data: it counts, once, and what is needless is freed (#5103, #5210)', () => {
    const farm = new SchedulerHarness(config);
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 2 });
    const x = client.submit({ key: 'x' });
    const z = client.submit({ key: 'z' });
    a.finishLarge('x', 5_000);
    a.cut();
    // It ends a run, and what it holds is given up, while nobody hears of it.
    a.finishLarge('z', 6_000);
    client.release(x);
    a.mend();
    expect(a.data.size).toBe(1);
    const y = client.submit({ key: 'y', deps: [[z]] });
    expect(a.runs).toHaveLength(1);
    finishAll(a);
    expect(client.results().get(y)).toBe('r(y)');
    expect(farm.core.statistics()).toMatchObject({ runs: 3, staleReports: 0 });
  });

  test('again and again, each time a moment before or after its lease (#5480, #5481)', () => {
    for (const awayMs of [4_000, 6_000]) {
      const farm = new SchedulerHarness(config);
      const client = farm.client('c');
      const b = farm.worker('b');
      let a = farm.worker('a');
      client.submit({ key: 'm', count: 8 });
      for (let round = 0; round < 4; round++) {
        const old = a;
        a.cut();
        farm.ticks(awayMs);
        b.finish('all', 1e6);
        a.finish('all', 1e6);
        if (awayMs > config.workerLeaseMs) a = farm.worker('a', { incarnation: `a${round}` });
        old.mend();
      }
      finishAll(a, b);
      expect(farm.core.counts()).toMatchObject({ memory: 8, processing: 0, queued: 0 });
      expect(farm.core.statistics().workers).toBe(2);
      client.close();
      farm.expectEmpty();
    }
  });

  test('a session that was replaced is over: nothing it says counts any more (#6354)', () => {
    const farm = new SchedulerHarness(config);
    const client = farm.client('c');
    const old = farm.worker('a', { incarnation: 'i' });
    const x = client.submit({ key: 'x' });
    const young = farm.worker('a', { incarnation: 'i' });
    old.finish({ x: 'from the old one' });
    old.beat();
    old.lose();
    expect(client.results().size).toBe(0);
    expect(young.keys()).toEqual(['x']);
    young.finish({ x: 'from the young one' });
    expect(client.results().get(x)).toBe('from the young one');
  });
});

test('no task is processing on a worker that has gone, however it went (#6263, #6356, #6392)', () => {
  for (const way of ['lost', 'left', 'away', 'retired', 'replaced'] as const) {
    const farm = new SchedulerHarness({ workerLeaseMs: 1_000 });
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 2 });
    const resources = amounts({ threads: 2 });
    client.submit({ key: 'm', count: 3 });
    client.submit({ key: 'wide', options: { resources } });
    const all = { workers: ['a'], count: 0, close: true, timeoutMs: 100 };
    if (way === 'left') a.leave();
    if (way === 'away') a.cut();
    if (way === 'retired') client.ask('retire-workers', all);
    if (way === 'away' || way === 'retired') farm.ticks(6_000);
    const b = farm.worker(way === 'replaced' ? 'a' : 'b', { nthreads: 2, incarnation: a.session });
    if (way === 'lost' || way === 'left' || way === 'retired') a.lose();
    expect(farm.core.statistics().workers, `one that is ${way}`).toBe(1);
    expect(farm.core.counts().processing, `one that is ${way}`).toBe(b.runs.length);
    finishAll(b);
    expect(farm.core.counts(), `one that is ${way}`).toMatchObject({
      memory: 4,
      processing: 0,
      queued: 0,
    });
  }
});

test('a worker that takes no more tasks hands back those that have not begun (#5235, #3761)', () => {
  const { farm, client, worker } = loaded(6);
  const [executing, ...others] = worker.runs;
  const request = client.ask('retire-workers', {
    workers: ['victim'],
    count: 0,
    close: false,
    timeoutMs: 60_000,
  });
  expect(sorted(worker.stopping)).toEqual(worker.runs.map(({ run }) => run));
  const other = farm.worker('other');
  worker.runs = executing === undefined ? [] : [executing];
  worker.stopping = [];
  worker.say({
    op: 'stopped',
    runs: others.map(({ run }) => run),
    kept: [executing?.run ?? -1],
  });
  expect(farm.core.counts().processing).toBe(1 + other.runs.length);
  finishAll(other);
  expect(worker.keys()).toEqual([executing?.key]);
  worker.finish('all', 100_000);
  expect(client.answer(request)).toMatchObject({ retired: ['victim'] });
  expect(farm.core.counts()).toMatchObject({ memory: 7, processing: 0 });
});

test('a function comes before its tasks, on each worker and after it was forgotten (#4432)', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const a = farm.worker('a');
  const x = client.submit({ key: 'x', fn: 'f' });
  // Each fake worker checks that it knows the function of a run.
  a.lose();
  const b = farm.worker('b');
  finishAll(b);
  client.release(x);
  client.close();
  expect(b.functions.size).toBe(0);
  const other = farm.client('other');
  other.submit({ key: 'x', fn: 'f' });
  other.submit({ key: 'y', fn: 'f', count: 3 });
  const c = farm.worker('c');
  b.cut();
  b.mend();
  finishAll(b, c);
  expect(farm.core.counts()).toMatchObject({ memory: 4 });
});

describe('an exchange of everything with everything', () => {
  const SIZE = 4;

  function shuffle(): Farm & { readonly outputs: number } {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const worker = farm.worker('a', { nthreads: 2 });
    farm.worker('b', { nthreads: 2 });
    const inputs = client.submit({ key: 'in', count: SIZE });
    const all = Array.from({ length: SIZE }, (_, i) => inputs + i);
    const parts = client.submit({
      key: 'part',
      count: SIZE * SIZE,
      deps: Array.from({ length: SIZE * SIZE }, (_, i) => [all[Math.floor(i / SIZE)] ?? 0]),
    });
    const outputs = client.submit({
      key: 'out',
      count: SIZE,
      deps: Array.from({ length: SIZE }, (_, to) => all.map((_, from) => parts + from * SIZE + to)),
    });
    client.release(...Array.from({ length: outputs }, (_, id) => id));
    return { farm, client, worker, outputs };
  }

  test('survives the loss of a worker at every step (#8091, #8094)', () => {
    for (let steps = 0; steps < SIZE * SIZE + 2 * SIZE; steps++) {
      const { farm, client, worker, outputs } = shuffle();
      const workers = [...farm.workers.values()];
      for (let step = 0; step < steps; step++) {
        const next = workers[step % 2]?.runs[0] ?? workers[(step + 1) % 2]?.runs[0];
        const who = workers.find(({ runs }) => next !== undefined && runs.includes(next));
        if (next !== undefined) who?.finishLarge(next.key, 5_000, 1e6);
      }
      worker.lose();
      const young = farm.worker('a', { nthreads: 2 });
      for (let round = 0; round < 200; round++) {
        for (const one of [...workers.slice(1), young]) {
          for (const { key } of [...one.runs]) one.finishLarge(key, 5_000, 1e6);
        }
      }
      expect(farm.core.counts(), `after ${steps}`).toMatchObject({ processing: 0, waiting: 0 });
      expect(farm.core.counts().memory, `after ${steps}`).toBe(SIZE);
      client.release(...Array.from({ length: SIZE }, (_, i) => outputs + i));
      client.close();
      farm.expectEmpty();
    }
  });

  test('gives a worker that joins late its part of the outputs (#8415)', () => {
    const { farm, client } = shuffle();
    const workers = [...farm.workers.values()];
    for (let round = 0; round < 3; round++) {
      for (const one of workers) {
        const [run] = one.runs;
        if (run !== undefined) one.finishLarge(run.key, 5_000, 1e6);
      }
    }
    const late = farm.worker('late', { nthreads: 2 });
    const ran: string[] = [];
    for (let round = 0; round < 200; round++) {
      for (const one of [...workers, late]) {
        const [run] = one.runs;
        if (run === undefined) continue;
        if (one === late) ran.push(run.key);
        one.finishLarge(run.key, 5_000, 1e6);
      }
    }
    expect(ran.length).toBeGreaterThan(0);
    expect(farm.core.counts()).toMatchObject({ memory: SIZE, processing: 0, waiting: 0 });
    client.close();
    farm.expectEmpty();
  });
});
