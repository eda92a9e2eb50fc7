/** What plugins are told, and what they are told about plugins. */
import { ask, failure } from '@farm/protocol/core';
import type { Observation, Observing } from '@farm/scheduler/core';
import { expect, test } from 'vitest';

import { SchedulerHarness } from './scheduler-harness.ts';

function observed(farm: SchedulerHarness): Observation[] {
  return farm.others().flatMap((other) => (other.do === 'observe' ? [other.observation] : []));
}

function loaded(farm: SchedulerHarness, observe: Observing, isNew = true): void {
  const { nowMs } = farm;
  const event = { kind: 'plugin-loaded', nowMs, client: 'c', request: 7 } as const;
  farm.handle({ ...event, isNew, failure: null, observe });
}

test('plugins are told in order of clients, workers, submits and transitions', () => {
  const farm = new SchedulerHarness({ observe: 'all' });
  const client = farm.client('c');
  const worker = farm.worker('w', { nthreads: 2 });
  client.submit({ key: 'm', count: 2, fn: 'square' });
  worker.finish({ 'm-1': 'v' });
  worker.lose('gone');
  client.close();
  const told = observed(farm);
  const about = (kind: Observation['kind']): unknown[] =>
    told.filter((each) => each.kind === kind).map((each) => each.about);
  const c = { id: 'c', name: 'c' };
  expect(about('addClient')).toEqual([c]);
  expect(about('addWorker')).toMatchObject([{ name: 'w', nthreads: 2, address: 'tcp://w:1' }]);
  const block = { client: c, fn: 'square', key: 'm', indexFrom: 0, count: 2 };
  expect(about('submit')).toEqual([block]);
  expect(about('removeWorker')).toEqual([{ name: 'w', reason: 'gone' }]);
  expect(about('removeClient')).toEqual([c]);
  const steps = told.flatMap(({ kind, about: what }) =>
    kind === 'transition' && what.key === 'm-1' ? [`${what.from} ${what.to}`] : [],
  );
  expect(steps.slice(0, 4)).toEqual([
    'released queued',
    'queued processing',
    'processing memory',
    'memory released',
  ]);
  expect(steps.at(-1)).toMatch(/ forgotten$/);
  const kinds = told.map(({ kind }) => kind);
  expect(kinds.indexOf('submit')).toBeLessThan(kinds.indexOf('transition'));
});

test('nothing is made for plugins that are not there, and no transitions for those that pass', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  client.submit({ count: 3 });
  expect(observed(farm)).toEqual([]);
  loaded(farm, 'events');
  client.submit({ count: 3 });
  expect(observed(farm).map(({ kind }) => kind)).toEqual(['submit']);
  loaded(farm, 'all');
  client.submit({ count: 3 });
  expect(observed(farm).map(({ kind }) => kind)).toEqual([
    'submit',
    'transition',
    'transition',
    'transition',
  ]);
  loaded(farm, 'nothing');
  client.submit({ count: 3 });
  expect(observed(farm)).toEqual([]);
});

test('a client that wants a plugin is told once it is there, or why it is not', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const plugin = { name: 'p', module: 'file:///p.js', args: ['x'] };
  client.say(ask(7, 'register-plugin', plugin));
  expect(farm.others()).toEqual([{ do: 'load-plugin', client: 'c', request: 7, plugin }]);
  expect(client.take()).toEqual([]);
  loaded(farm, 'events', false);
  expect(client.take()).toEqual([{ op: 'reply', request: 7, answer: false, error: null }]);
  const why = failure('ERR_ARGUMENT', 'no such file', '', null, null);
  const { nowMs } = farm;
  const event = { kind: 'plugin-loaded', nowMs, client: 'c', request: 8 } as const;
  farm.handle({ ...event, isNew: false, failure: why, observe: 'nothing' });
  expect(client.take()).toEqual([{ op: 'reply', request: 8, answer: null, error: why }]);
  client.lose();
  farm.handle({ ...event, isNew: false, failure: why, observe: 'nothing' });
});

test('a client that wants a plugin to end is told whether there was one', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  client.say(ask(7, 'unregister-plugin', { name: 'p' }));
  expect(farm.others()).toEqual([{ do: 'unload-plugin', client: 'c', request: 7, name: 'p' }]);
  loaded(farm, 'nothing', true);
  expect(client.take()).toEqual([{ op: 'reply', request: 7, answer: true, error: null }]);
});
