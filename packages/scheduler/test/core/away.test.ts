import { describe, expect, test } from 'vitest';

import { SchedulerHarness, bytes } from './scheduler-harness.ts';

// Goal: who loses the socket and comes back within the lease has lost nothing and does nothing
// twice; who comes later is forgotten, and who is known to be gone is not waited for.

const LEASE = { workerLeaseMs: 5_000, clientLeaseMs: 5_000 } as const;

describe('a worker that is away', () => {
  test('keeps its runs and results, and nothing is done again when it comes back in time', () => {
    const farm = new SchedulerHarness({ ...LEASE, inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    client.submit({ key: 'm', count: 4 });
    a.finishLarge('m-0', 5_000, 1e6);
    client.take();
    const held = [...a.data];
    const runs = a.keys();
    a.cut();
    farm.ticks(4_500);
    b.finish('all', 1e6);
    expect(client.taken('recomputing')).toEqual([]);
    a.finish('all', 1e6);
    a.mend();
    while (a.runs.length + b.runs.length > 0) {
      a.finish('all', 1e6);
      b.finish('all', 1e6);
    }
    expect(farm.core.counts()).toMatchObject({ memory: 4 });
    // Four runs for four tasks.
    expect(farm.core.statistics()).toMatchObject({ runs: 4, staleReports: 0 });
    expect([held.length, runs.length]).toEqual([1, 1]);
    expect(a.data.has(held[0] ?? -1)).toBe(true);
  });

  test('gets no new runs, and gets them when it is back', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const a = farm.worker('a');
    a.cut();
    const id = client.submit({ key: 'x' });
    expect(farm.core.counts()).toMatchObject({ 'no-worker': 1 });
    client.say({ op: 'ask', request: 1, method: 'explain', params: { key: 'x' } });
    const [reply] = client.taken('reply');
    expect(reply?.answer).toMatchObject({
      workers: [{ worker: 'a', reason: expect.stringContaining('away') as string }],
    });
    a.mend();
    expect(a.keys()).toEqual(['x']);
    a.finish();
    expect(client.results().get(id)).toBe('r(x)');
  });

  test('is shown as such, as is one that retires', () => {
    const farm = new SchedulerHarness(LEASE);
    const a = farm.worker('a');
    const b = farm.worker('b');
    const status = (): readonly string[] =>
      farm.core.info(farm.nowMs).workers.map((worker) => worker.status);
    expect(status()).toEqual(['running', 'running']);
    a.cut();
    b.leave();
    expect(status()).toEqual(['away', 'retiring']);
    a.mend();
    expect(status()).toEqual(['running', 'retiring']);
  });

  test('does not count for those who wait for workers', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const a = farm.worker('a');
    a.cut();
    client.say({ op: 'ask', request: 1, method: 'wait-for-workers', params: { count: 1 } });
    expect(client.taken('reply')).toEqual([]);
    a.mend();
    expect(client.taken('reply')).toHaveLength(1);
  });

  test('is lost when its lease ends: its work is done elsewhere, and its session dropped', () => {
    const farm = new SchedulerHarness({ ...LEASE, inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const a = farm.worker('a');
    const [x, y] = [client.submit({ key: 'x' }), client.submit({ key: 'y' })];
    a.finishLarge('x', 5_000, 1e6);
    client.take();
    a.cut('cable pulled');
    const b = farm.worker('b');
    farm.ticks(4_500);
    expect(b.runs).toEqual([]);
    farm.ticks(1_000);
    expect(client.taken('recomputing')).toEqual([{ op: 'recomputing', ids: [x] }]);
    expect(farm.others()).toContainEqual({
      do: 'drop-worker',
      worker: a.session,
      reason: expect.stringContaining('cable pulled') as string,
    });
    b.finish('all', 1e6);
    b.finish('all', 1e6);
    expect(farm.core.counts()).toMatchObject({ memory: 2 });
    // It comes back too late, from another world: nothing it says matters.
    a.mend();
    expect(farm.core.statistics()).toMatchObject({ workers: 1 });
    expect(y).toBe(1);
  });

  test('is not lost by time in which the scheduler itself stood still', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x' });
    a.cut();
    farm.tick(3_600_000);
    farm.ticks(3_000);
    a.mend();
    a.finish();
    expect(client.results().size).toBe(1);
    expect(farm.core.statistics()).toMatchObject({ runs: 1 });
  });

  test('is lost in time though the clock was set back meanwhile', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x' });
    a.cut();
    farm.tick(-3_600_000);
    farm.ticks(4_500);
    expect(farm.core.statistics()).toMatchObject({ workers: 1 });
    farm.ticks(1_000);
    expect(farm.core.statistics()).toMatchObject({ workers: 0 });
  });

  test('is lost at once when its process is known to have ended', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    client.submit({ key: 'm', count: 2 });
    a.cut();
    a.lose('socket closed');
    b.finish('all');
    b.finish('all');
    expect(client.results().size).toBe(2);
  });

  test('gives way to a new process of its name, which has nothing', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const old = farm.worker('a');
    client.submit({ key: 'x' });
    old.cut();
    const young = farm.worker('a');
    expect(young.keys()).toEqual(['x']);
    expect(farm.others()).toMatchObject([{ do: 'drop-worker', worker: old.session }]);
    young.finish();
    expect(client.results().size).toBe(1);
    expect(farm.core.statistics()).toMatchObject({ workers: 1 });
  });

  test('gives way to a new session of its own, even if nobody noticed that the old one ended', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const old = farm.worker('a', { incarnation: 'i' });
    client.submit({ key: 'x' });
    const young = farm.worker('a', { incarnation: 'i' });
    expect(young.keys()).toEqual(['x']);
    expect(farm.others()).toMatchObject([{ do: 'drop-worker', worker: old.session }]);
    old.lose();
    expect(farm.core.statistics()).toMatchObject({ workers: 1 });
  });

  test('hears of what was given up meanwhile, and its late report changes nothing', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const a = farm.worker('a');
    const x = client.submit({ key: 'x' });
    const [run] = a.runs;
    a.cut();
    client.release(x);
    a.finish();
    a.mend();
    expect(a.stopping).toEqual([run?.run]);
    expect(a.data.size).toBe(0);
    client.close();
    farm.expectEmpty();
  });

  test('still serves what it holds: others are told to fetch it there', () => {
    const farm = new SchedulerHarness({ ...LEASE, inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const a = farm.worker('a');
    const x = client.submit({ key: 'x' });
    a.finishLarge('x', 5_000);
    const b = farm.worker('b');
    a.cut();
    client.submit({ key: 'y', deps: [[x]] });
    expect(b.runs[0]?.inputs[0]?.holders).toEqual(['tcp://a:1']);
  });

  test('that was leaving stays leaving', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const a = farm.worker('a');
    a.leave();
    a.cut();
    a.mend();
    client.submit({ key: 'x' });
    expect(a.runs).toEqual([]);
  });

  test('does not hold up the end of the scheduler', () => {
    const farm = new SchedulerHarness(LEASE);
    const a = farm.worker('a');
    a.cut();
    farm.handle({ kind: 'shutdown-asked', nowMs: farm.nowMs, reason: 'enough' });
    expect(farm.others()).toContainEqual({ do: 'exit', reason: 'enough' });
  });
});

describe('a client that is away', () => {
  test('keeps its wants, and hears of what ended meanwhile when it is back', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const a = farm.worker('a');
    const x = client.submit({ key: 'x' });
    client.cut();
    farm.ticks(4_500);
    a.finish({ x: 'v' });
    // What it says meanwhile arrives with it.
    const y = client.submit({ key: 'y' });
    expect(a.runs).toEqual([]);
    client.mend();
    a.finish({ y: 'w' });
    expect(client.results()).toEqual(
      new Map([
        [x, 'v'],
        [y, 'w'],
      ]),
    );
    expect(farm.core.statistics()).toMatchObject({ runs: 2 });
  });

  test('is forgotten when its lease ends: its wants are released, its session dropped', () => {
    const farm = new SchedulerHarness(LEASE);
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x' });
    client.cut('laptop closed');
    farm.ticks(4_500);
    expect(a.stopping).toEqual([]);
    farm.ticks(1_000);
    expect(a.stopping).toHaveLength(1);
    expect(farm.others()).toContainEqual({
      do: 'drop-client',
      client: client.session,
      reason: expect.stringContaining('laptop closed') as string,
    });
    a.answerStops();
    farm.expectEmpty();
  });

  test('shares nothing of its lease with others: their wants live on', () => {
    const farm = new SchedulerHarness({ ...LEASE, clientLeaseMs: 1_000 });
    const [one, other] = [farm.client('one'), farm.client('other')];
    const a = farm.worker('a');
    one.submit({ key: 'x' });
    other.submit({ key: 'x', args: ['a0'] });
    one.cut();
    farm.ticks(2_000);
    a.finish({ x: 'v' });
    expect(other.results().size).toBe(1);
    expect(bytes('v')).toHaveLength(1);
  });
});
