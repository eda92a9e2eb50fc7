import { describe, expect, test } from 'vitest';

import { SchedulerHarness } from './scheduler-harness.ts';

describe('scattered values', () => {
  test('go round the workers, and resolve once these hold them', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    client.scatter(['one', 'two', 'three']);
    expect(client.taken('results')).toEqual([]);
    expect(a.given).toHaveLength(2);
    expect(b.given).toHaveLength(1);
    a.takeIn();
    b.takeIn();
    expect(client.taken('results').flatMap(({ ids, sizes }) => [ids, sizes])).toEqual([
      [0, 2],
      [3, 5],
      [1],
      [3],
    ]);
  });

  test('are inputs like others', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    const value = client.scatter(['one']);
    client.submit({ key: 'x', deps: [[value]] });
    expect(a.keys()).toEqual([]);
    a.takeIn();
    expect(a.keys()).toEqual(['x']);
    a.finish();
    client.release(0, 1);
    client.close();
    farm.expectEmpty();
    expect(a.data).toEqual(new Set());
  });

  test('wait for a worker that may take them, and err where none comes in time', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const late = client.scatter(['one'], { timeoutMs: 1_000 });
    client.scatter(['two'], { timeoutMs: 1_000, workers: ['never'] });
    farm.tick(900);
    const a = farm.worker('a');
    a.takeIn();
    expect(client.taken('results')).toMatchObject([{ ids: [late] }]);
    farm.tick(100);
    const [failed] = client.taken('failed');
    expect(failed?.failure).toMatchObject({ code: 'ERR_NO_WORKER' });
    expect(failed?.failure.message).toMatch(/none of the workers never could take .* 1000 ms/);
  });

  test('go elsewhere where the worker is lost on the way', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.scatter(['one']);
    a.lose();
    const b = farm.worker('b');
    expect(b.taken('put-data')).toMatchObject([{ ends: [3] }]);
    b.takeIn();
    expect(client.taken('results')).toHaveLength(1);
  });

  test('that are lost err, with what depends on them, and say that they cannot be recomputed', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    const value = client.scatter(['one']);
    a.takeIn();
    const x = client.submit({ key: 'x', deps: [[value]] });
    client.take();
    a.lose();
    const failed = client.taken('failed');
    expect(failed.flatMap(({ ids }) => ids)).toEqual([value, x]);
    expect(failed[0]?.failure).toMatchObject({ code: 'ERR_LOST_DATA' });
    expect(failed[0]?.failure.message).toMatch(/scattered data, last held by worker a, .* recomp/);
    client.retry(value);
    farm.worker('b');
    expect(client.taken('failed').flatMap(({ ids }) => ids)).toContain(value);
  });

  test('of the same content are one task', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const other = farm.client('d');
    const a = farm.worker('a');
    client.scatter(['one'], { key: 'value-hash' });
    a.takeIn();
    other.scatter(['one'], { key: 'value-hash' });
    expect(a.given).toEqual([]);
    expect(other.taken('results')).toMatchObject([{ ids: [0] }]);
    client.release(0);
    expect(farm.core.counts()).toMatchObject({ memory: 1 });
    other.release(0);
    client.close();
    other.close();
    farm.expectEmpty();
  });

  test('on their way are limited in their sum', () => {
    const farm = new SchedulerHarness({ scatterBytesMax: 6 });
    const client = farm.client('c');
    client.scatter(['one', 'two', 'three']);
    expect(client.taken('failed')).toMatchObject([{ ids: [2], failure: { code: 'ERR_LIMIT' } }]);
    farm.worker('a').takeIn();
    expect(client.taken('results')).toMatchObject([{ ids: [0, 1] }]);
    client.scatter(['more']);
    expect(client.taken('failed')).toEqual([]);
  });

  test('are refused under a key that is another task', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    client.submit({ key: 'x' });
    client.scatter(['one'], { key: 'x' });
    expect(client.taken('failed')[0]?.failure.code).toBe('ERR_DUPLICATE_KEY');
  });

  test('that nobody wants any more are freed as soon as they arrive', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.scatter(['one']);
    client.release(0);
    a.takeIn();
    expect(a.data).toEqual(new Set());
    client.close();
    farm.expectEmpty();
  });

  test('are broadcast like a tree: no more copies on their way than twice what there is', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = Array.from({ length: 8 }, (_, index) => farm.worker(`w${index}`));
    client.scatter(['one'], { copies: 0 });
    workers[0]?.takeIn();
    const asked = (): number => workers.reduce((sum, { acquiring }) => sum + acquiring.length, 0);
    const copies = (): number => workers.filter(({ data }) => data.size > 0).length;
    for (let holders = copies(); holders < 8; holders = copies()) {
      expect(asked()).toBe(Math.min(2 * holders, 8 - holders));
      workers.find(({ acquiring }) => acquiring.length > 0)?.takeIn();
    }
    expect(workers.every(({ data }) => data.size === 1)).toBe(true);
    // They stay, whatever else becomes of surplus copies.
    farm.tick(60_000);
    expect(workers.every(({ data }) => data.size === 1)).toBe(true);
    workers[0]?.lose();
    expect(client.taken('failed')).toEqual([]);
  });
});

describe('copies', () => {
  test('are made and dropped to the number asked for', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = [farm.worker('a'), farm.worker('b'), farm.worker('c')] as const;
    const x = client.submit({ key: 'x' });
    workers[0].finishLarge('x', 5_000);
    const more = client.ask('replicate', { ids: [x], copies: 3, workers: [] });
    for (const worker of workers) worker.takeIn();
    expect(client.answer(more)).toEqual({ copied: 2, dropped: 0, failed: [] });
    const where = client.ask('who-has', { ids: [x] });
    expect(client.answer(where)).toEqual([{ key: 'x', workers: ['a', 'b', 'c'] }]);
    const fewer = client.ask('replicate', { ids: [x], copies: 1, workers: [] });
    expect(client.answer(fewer)).toEqual({ copied: 0, dropped: 2, failed: [] });
    expect(workers.filter(({ data }) => data.size === 1)).toHaveLength(1);
  });

  test('that cannot be made are told', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    const x = client.submit({ key: 'x' });
    a.finishLarge('x', 5_000);
    const request = client.ask('replicate', { ids: [x], copies: 2, workers: [] });
    expect(client.answer(request)).toMatchObject({
      failed: [{ key: 'x', reason: 'no other worker has room for it' }],
    });
  });

  test('on their way are given up with their result', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    const x = client.submit({ key: 'x' });
    a.finishLarge('x', 5_000);
    const request = client.ask('replicate', { ids: [x], copies: 2, workers: [] });
    client.release(x);
    expect(client.answer(request)).toMatchObject({ copied: 0, failed: [{ key: 'x' }] });
    b.takeIn();
    expect(b.data).toEqual(new Set());
  });

  test('fetched as inputs stay while they are needed, and a while longer, then one is kept', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    const x = client.submit({ key: 'x', options: { workers: ['a'] } });
    a.finishLarge('x', 5_000);
    client.submit({ key: 'y', deps: [[x]], options: { workers: ['b'] } });
    b.hold(1);
    farm.tick(60_000);
    expect([a.data.has(1), b.data.has(1)]).toEqual([true, true]);
    b.finish();
    farm.tick(1_999);
    expect([a.data.has(1), b.data.has(1)]).toEqual([true, true]);
    farm.tick(1);
    expect([a.data.has(1), b.data.has(1)].filter(Boolean)).toHaveLength(1);
    expect(client.taken('failed')).toEqual([]);
  });

  test('are moved from the fullest to the emptiest worker', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 4 });
    client.submit({ key: 'm', count: 4 });
    for (let index = 0; index < 4; index++) a.finishLarge(`m-${index}`, 5_000);
    const b = farm.worker('b');
    const request = client.ask('rebalance', { ids: [], workers: [] });
    expect(b.acquiring).toHaveLength(2);
    b.takeIn();
    expect(client.answer(request)).toEqual({ copied: 2, dropped: 2, failed: [] });
    expect([a.data.size, b.data.size]).toEqual([2, 2]);
    const held = client.ask('has-what', { workers: ['b'] });
    expect(client.answer(held)).toMatchObject([{ worker: 'b', keys: { length: 2 } }]);
  });
});
