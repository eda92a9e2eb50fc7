import fc from 'fast-check';
import { expect, test } from 'vitest';

import { BitSet } from '../../src/core/collections/bit-set.ts';
import { DirtyWorkers } from '../../src/core/collections/dirty-workers.ts';
import { IdleWorkers } from '../../src/core/collections/idle-workers.ts';
import { ResourcePool } from '../../src/core/resources.ts';
import { WorkerState } from '../../src/core/state.ts';
import { SchedulerHarness } from './scheduler-harness.ts';

function workersOn(hosts: readonly string[]): WorkerState[] {
  return hosts.map((host, number) => {
    const name = `w${number}`;
    const hello = {
      op: 'hello',
      role: 'worker',
      protocol: 1,
      version: '',
      incarnation: name,
      name,
      nthreads: 1,
      resources: [],
      memoryLimitBytes: null,
      address: null,
      host,
      pid: 1,
      localDirectory: '',
      nanny: false,
    } as const;
    return new WorkerState(number, name, hello, new ResourcePool([]), 0);
  });
}

test('idle workers are in line as they came, and known by their host', () => {
  const hosts = ['alone', 'pair', 'pair', ...Array.from({ length: 5 }, () => 'many')];
  const kind = fc.constantFrom('letIn', 'shutOut', 'add', 'add', 'delete', 'delete', 'load');
  const step = fc.tuple(kind, fc.nat(hosts.length - 1));
  fc.assert(
    fc.property(fc.array(step, { size: 'large' }), (steps) => {
      const workers = workersOn(hosts);
      const idle = new IdleWorkers();
      const accepted = new Set<WorkerState>();
      const model = new Set<WorkerState>();
      for (const [what, at] of steps) {
        const worker = workers[at];
        if (worker === undefined) continue;
        if (what === 'letIn') {
          accepted.add(worker);
          idle.letIn(worker);
        } else if (what === 'shutOut') {
          accepted.delete(worker);
          model.delete(worker);
          idle.shutOut(worker);
        } else if (what === 'delete') {
          expect(idle.delete(worker)).toBe(model.delete(worker));
        } else if (what === 'load') {
          worker.occupancyUs += 1;
          idle.noteLoad(worker);
        } else if (accepted.has(worker)) {
          idle.add(worker);
          model.add(worker);
        }
        expect(idle.size).toBe(model.size);
        expect([...idle]).toEqual([...model]);
        expect(idle.hosts).toBe(new Set([...accepted].map(({ hello }) => hello.host)).size);
      }
      for (const worker of workers) expect(idle.has(worker)).toBe(model.has(worker));
      for (const host of hosts) {
        const there = [...model].filter(({ hello }) => hello.host === host);
        expect(new Set(idle.on(host))).toEqual(new Set(there));
      }
      const line: WorkerState[] = [];
      for (let place = idle.placeFrom(0); place >= 0; place = idle.placeFrom(place + 1)) {
        const worker = idle.at(place);
        if (worker === null) throw new Error(`nobody is at place ${place}`);
        expect(idle.loadAt(place)).toBe(worker.occupancyUs);
        line.push(worker);
      }
      expect(line).toEqual([...model]);
    }),
  );
});

test('the line of idle workers does not grow with comings and goings', () => {
  const idle = new IdleWorkers();
  const workers = workersOn(Array.from({ length: 100 }, (_, number) => `h${number}`));
  for (const worker of workers) {
    idle.letIn(worker);
    idle.add(worker);
  }
  for (let round = 0; round < 1_000; round++) {
    const first = idle.at(idle.placeFrom(0));
    if (first === null) throw new Error('nobody is idle');
    idle.delete(first);
    idle.add(first);
  }
  expect([...idle]).toEqual(workers);
  expect(Math.max(...workers.map(({ idleAt }) => idleAt))).toBeLessThan(300);
});

test('dirty workers are a set in order of insertion', () => {
  const step = fc.tuple(fc.constantFrom('add', 'add', 'delete', 'clear'), fc.nat(5));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const workers = workersOn(Array.from({ length: 6 }, () => 'h'));
      const dirty = new DirtyWorkers();
      const model = new Set<WorkerState>();
      for (const [what, at] of steps) {
        const worker = workers[at];
        if (worker === undefined) continue;
        if (what === 'clear') {
          dirty.clear();
          model.clear();
        } else {
          dirty[what](worker);
          model[what](worker);
        }
        expect([...dirty]).toEqual([...model]);
      }
    }),
  );
});

test('a set of bits is a set of numbers', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(100))), (steps) => {
      const bits = new BitSet();
      const model = new Set<number>();
      for (const [isAdded, number] of steps) {
        if (isAdded) {
          expect(bits.add(number)).toBe(!model.has(number));
          model.add(number);
        } else {
          bits.delete(number);
          model.delete(number);
        }
      }
      for (let number = 0; number <= 101; number++)
        expect(bits.has(number)).toBe(model.has(number));
    }),
  );
});

test('a worker that gets the number of one that is gone is told of functions anew', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const first = farm.worker('w');
  client.submit({ key: 'x' });
  expect(first.take().map(({ op }) => op)).toEqual(['define-worker-function', 'run']);
  first.lose();
  const second = farm.worker('v');
  expect(second.take().map(({ op }) => op)).toEqual(['define-worker-function', 'run']);
});
