import { failure, leaving, pluginSet } from '@farm/protocol/core';
import type { SetPlugin, WorkerPluginParams } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { bytes, SchedulerHarness, text } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';

// Goal: a plugin is on all workers or on none; a worker that joins runs nothing before it has set up
// all of them; whoever asked hears once all have answered.

function register(
  client: FakeClient,
  request: number,
  name: string,
  fields: Partial<WorkerPluginParams> & { readonly source?: string } = {},
): void {
  const { kind = 'worker', source = 'v1' } = fields;
  const params = { name, kind, spec: bytes(source) };
  client.say({ op: 'ask', request, method: 'register-worker-plugin', params });
}

function unregister(client: FakeClient, request: number, name: string): void {
  client.say({ op: 'ask', request, method: 'unregister-worker-plugin', params: { name } });
}

/** What a worker was told of plugins since: `+name source` or `-name`, with the request. */
function told(worker: FakeWorker): { readonly what: string[]; readonly requests: number[] } {
  const all = worker.taken('set-plugin');
  const shown = ({ name, spec }: SetPlugin): string =>
    spec === null ? `-${name}` : `+${name} ${text(spec)}`;
  return { what: all.map(shown), requests: all.map(({ request }) => request) };
}

function done(worker: FakeWorker, request: number | undefined, why: string | null = null): void {
  const wrong = why === null ? null : failure('ERR_PLUGIN', why, '', worker.name, null);
  worker.say(pluginSet(request ?? -1, wrong));
}

function answers(client: FakeClient): unknown[] {
  return client.taken('reply').map(({ request, answer, error }) => [request, error ?? answer]);
}

describe('a plugin that a client registers', () => {
  test('is answered once every worker has set it up, and does not stop their tasks', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    register(client, 1, 'p');
    client.submit({ key: 'x', count: 2 });
    expect([...a.keys(), ...b.keys()].toSorted()).toEqual(['x-0', 'x-1']);
    const [toA, toB] = [told(a), told(b)];
    expect([toA.what, toB.what]).toEqual([['+p v1'], ['+p v1']]);
    done(a, toA.requests[0]);
    expect(answers(client)).toEqual([]);
    done(b, toB.requests[0]);
    expect(answers(client)).toEqual([[1, true]]);
  });

  test('without any worker is there at once, and again is no news', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    register(client, 1, 'p');
    register(client, 2, 'p');
    expect(answers(client)).toEqual([
      [1, true],
      [2, false],
    ]);
  });

  test('is waited for by all who ask for it meanwhile', () => {
    const farm = new SchedulerHarness();
    const [c, d] = [farm.client('c'), farm.client('d')];
    const a = farm.worker('a');
    register(c, 1, 'p');
    register(d, 7, 'p');
    const { what, requests } = told(a);
    expect(what).toEqual(['+p v1']);
    done(a, requests[0]);
    expect([answers(c), answers(d)]).toEqual([[[1, true]], [[7, true]]]);
  });

  test('is taken back everywhere where one worker cannot set it up, and says where and why', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    register(client, 1, 'p');
    const [toA, toB] = [told(a), told(b)];
    done(a, toA.requests[0]);
    done(b, toB.requests[0], 'no disk');
    expect(answers(client)).toMatchObject([
      [
        1,
        {
          code: 'ERR_PLUGIN',
          worker: 'b',
          message: expect.stringContaining('b: no disk') as string,
        },
      ],
    ]);
    expect([told(a).what, told(b).what]).toEqual([['-p'], ['-p']]);
    const late = farm.worker('late');
    expect(told(late).what).toEqual([]);
    client.submit({ key: 'x', count: 3 });
    expect(late.keys()).toHaveLength(1);
  });

  test('takes the place of another one of its name', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    register(client, 1, 'p');
    register(client, 2, 'p', { source: 'v2' });
    const { what, requests } = told(a);
    expect(what).toEqual(['+p v1', '+p v2']);
    done(a, requests[0]);
    done(a, requests[1]);
    expect(answers(client)).toMatchObject([
      [1, { code: 'ERR_PLUGIN' }],
      [2, false],
    ]);
    register(client, 3, 'p', { kind: 'nanny', source: 'v2' });
    expect(told(a).what).toEqual(['-p', '+p v2']);
  });

  test('does not wait for workers that die or are leaving', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    a.say(leaving('lifetime'));
    register(client, 1, 'p');
    expect(told(a).what).toEqual([]);
    expect(told(b).what).toEqual(['+p v1']);
    b.lose('killed');
    expect(answers(client)).toEqual([[1, true]]);
  });

  test('that is too large is refused', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    register(client, 1, 'p', { source: 'x'.repeat(50_331_649) });
    expect(answers(client)).toMatchObject([[1, { code: 'ERR_LIMIT' }]]);
  });
});

describe('a worker that joins', () => {
  test('gets no task before it has set up all plugins', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    register(client, 1, 'p');
    register(client, 2, 'q');
    client.submit({ key: 'x' });
    client.say({ op: 'ask', request: 9, method: 'wait-for-workers', params: { count: 1 } });
    const a = farm.worker('a');
    const { what, requests } = told(a);
    expect(what).toEqual(['+p v1', '+q v1']);
    done(a, requests[0]);
    expect(a.keys()).toEqual([]);
    client.take();
    client.say({ op: 'ask', request: 3, method: 'explain', params: { key: 'x' } });
    expect(client.taken('reply')[0]?.answer).toMatchObject({
      workers: [{ worker: 'a', reason: 'it is setting up its plugins: q' }],
    });
    done(a, requests[1]);
    expect(a.keys()).toEqual(['x']);
    expect(answers(client)).toEqual([[9, 1]]);
  });

  test('that cannot set one up runs nothing and says why, until the plugin is gone', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    register(client, 1, 'p');
    const a = farm.worker('a');
    done(a, told(a).requests[0], 'no network');
    client.submit({ key: 'x' });
    expect(a.keys()).toEqual([]);
    client.take();
    client.say({ op: 'ask', request: 3, method: 'explain', params: { key: 'x' } });
    expect(client.taken('reply')[0]?.answer).toMatchObject({
      workers: [{ worker: 'a', reason: 'its plugin p could not be set up: no network' }],
    });
    expect(farm.logs.join('\n')).toContain('plugin p could not be set up on a: no network');
    unregister(client, 4, 'p');
    expect(a.keys()).toEqual(['x']);
  });

  test('goes on without a plugin that is unregistered while it is set up', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    register(client, 1, 'p');
    const a = farm.worker('a');
    const { requests } = told(a);
    client.submit({ key: 'x' });
    unregister(client, 2, 'p');
    expect(a.keys()).toEqual(['x']);
    const removal = told(a);
    expect(removal.what).toEqual(['-p']);
    done(a, requests[0], 'too late');
    done(a, removal.requests[0]);
    expect(answers(client)).toEqual([
      [1, true],
      [2, true],
    ]);
  });

  test('waits for the plugin that took the place of the one it sets up, or could not set up', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    register(client, 1, 'p');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    done(b, told(b).requests[0], 'no network');
    register(client, 2, 'p', { source: 'v2' });
    client.submit({ key: 'x', count: 2 });
    client.take();
    client.say({ op: 'ask', request: 3, method: 'explain', params: { key: 'x-0' } });
    const reason = 'it is setting up its plugins: p';
    expect(client.taken('reply')[0]?.answer).toMatchObject({ workers: [{ reason }, { reason }] });
    const [first, second] = told(a).requests;
    done(a, first);
    expect(a.keys()).toEqual([]);
    done(a, second);
    expect(a.keys()).toHaveLength(1);
    done(b, told(b).requests[0]);
    expect(b.keys()).toHaveLength(1);
    expect(answers(client)).toEqual([[2, false]]);
  });

  test('is paused, away and unprepared in any order, and runs once it is none of them', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    register(client, 1, 'p');
    const a = farm.worker('a');
    const { requests } = told(a);
    client.submit({ key: 'x' });
    a.cut();
    a.mend();
    expect(a.keys()).toEqual([]);
    done(a, requests[0]);
    expect(a.keys()).toEqual(['x']);
  });
});

test('unregistering is answered once it is torn down everywhere, also where that failed', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const [a, b] = [farm.worker('a'), farm.worker('b')];
  unregister(client, 1, 'p');
  expect(answers(client)).toEqual([[1, false]]);
  register(client, 2, 'p');
  for (const worker of [a, b]) done(worker, told(worker).requests[0]);
  client.take();
  unregister(client, 3, 'p');
  done(a, told(a).requests[0]);
  expect(answers(client)).toEqual([]);
  done(b, told(b).requests[0], 'it threw');
  expect(answers(client)).toEqual([[3, true]]);
  expect(told(farm.worker('late')).what).toEqual([]);
});
