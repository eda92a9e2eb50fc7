/**
 * Goal: one task that needs two GPUs, a hundred that need one and a hundred that need none, on two
 * workers with two GPUs each: no slot is idle while something fits, nobody starves, and what is
 * used is never more than there is.
 */
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';
import { VirtualWorkers } from './virtual-workers.ts';

const KINDS = ['two', 'one', 'plain'] as const;
type Kind = (typeof KINDS)[number];

const GPUS: Readonly<Record<Kind, number>> = { two: 2, one: 1, plain: 0 };
const MS: Readonly<Record<Kind, number>> = { two: 400, one: 300, plain: 70 };
const SLOTS = 4;
const CAPACITY = 2;
const RESERVE_MS = 1_000;

class GpuFarm {
  readonly farm = new SchedulerHarness({ reserveAfterMs: RESERVE_MS });
  readonly client: FakeClient = this.farm.client('c');
  readonly workers: readonly FakeWorker[];
  readonly cluster: VirtualWorkers;
  readonly #submitted: Record<Kind, number> = { two: 0, one: 0, plain: 0 };
  /** Since when a task of two GPUs waits. */
  #waitsSinceMs: number | null = null;
  steps = 0;

  constructor() {
    const hello = { nthreads: SLOTS, resources: amounts({ GPU: CAPACITY }) };
    this.workers = ['a', 'b'].map((name) => this.farm.worker(name, hello));
    const slots = new Map(this.workers.map((worker) => [worker, SLOTS]));
    const work = (key: string): { durationMs: number; size: number } => ({
      // No two ends come at the same time.
      durationMs: MS[kindOf(key)] * (1 + (Number(key.split(':')[1]) % 7) / 10),
      size: 8,
    });
    this.cluster = new VirtualWorkers(this.farm, slots, work);
    this.cluster.onStep = () => this.check();
  }

  submit(kind: Kind, count = 1, priority = 0): void {
    for (let at = 0; at < count; at++) {
      const key = `${kind}:${this.#submitted[kind]++}`;
      const options = { resources: amounts(GPUS[kind] > 0 ? { GPU: GPUS[kind] } : {}), priority };
      this.client.submit({ key, fn: kind, options });
    }
    this.check();
  }

  startedOf(kind: Kind): number {
    return this.cluster.started.filter(([key]) => kindOf(key) === kind).length;
  }

  /** What must hold between any two events. */
  check(): void {
    this.steps += 1;
    const told = { two: 0, one: 0, plain: 0 };
    for (const [key] of this.cluster.started) told[kindOf(key)] += 1;
    const begun = new Set(this.cluster.started.map(([key]) => key));
    for (const worker of this.workers) {
      for (const key of worker.keys()) if (!begun.has(key)) told[kindOf(key)] += 1;
    }
    const waits = (kind: Kind): boolean => this.#submitted[kind] > told[kind];
    this.#waitsSinceMs = waits('two') ? (this.#waitsSinceMs ?? this.farm.nowMs) : null;
    let kept = 0;
    for (const worker of this.workers) {
      const keys = worker.keys();
      const gpus = keys.reduce((sum, key) => sum + GPUS[kindOf(key)], 0);
      expect(gpus, `GPUs of ${worker.name}`).toBeLessThanOrEqual(CAPACITY);
      const running = this.cluster.running.filter(([, name]) => name === worker.name);
      expect(running.length, `slots of ${worker.name}`).toBeLessThanOrEqual(SLOTS);
      const free = { slots: SLOTS - keys.length, gpus: CAPACITY - gpus };
      const idleFor = KINDS.filter(
        (kind) => waits(kind) && free.slots >= 1 && free.gpus >= GPUS[kind],
      );
      if (idleFor.length === 0) continue;
      // Then it is kept clear, and for the large task only: what it does not need is in use.
      const { slots, gpus: unused } = free;
      const about = `${worker.name} has ${slots} slots, ${unused} GPUs for ${idleFor.join()}`;
      const waitedMs = this.farm.nowMs - (this.#waitsSinceMs ?? Infinity);
      expect(waitedMs, `here: ${about}`).toBeGreaterThanOrEqual(RESERVE_MS);
      expect(idleFor, `here: ${about}`).not.toContain('two');
      if (idleFor.includes('plain')) expect(free.slots, `here: ${about}`).toBe(1);
      if (idleFor.includes('one')) expect(free.gpus, `here: ${about}`).toBe(1);
      kept += 1;
    }
    expect(kept, 'workers kept clear').toBeLessThanOrEqual(1);
  }
}

function kindOf(key: string): Kind {
  const kind = KINDS.find((one) => key.startsWith(`${one}:`));
  if (kind === undefined) throw new Error(`what is ${key}?`);
  return kind;
}

/** All tasks ran, in no more time than the GPUs need, but for a small rest. */
function expectEnd(gpus: GpuFarm, startMs: number): void {
  expect(gpus.farm.core.counts()).toMatchObject({ memory: 201, processing: 0, queued: 0 });
  expect(KINDS.map((kind) => gpus.startedOf(kind))).toEqual([1, 100, 100]);
  const gpuMs = 100 * MS.one * 1.3 + 2 * MS.two * 1.6;
  const boundMs = gpuMs / (2 * CAPACITY) + RESERVE_MS + 2 * MS.one * 1.6 + MS.two * 1.6;
  expect(gpus.farm.nowMs - startMs).toBeLessThan(boundMs);
  expect(gpus.steps).toBeGreaterThan(200);
}

describe('tasks of two GPUs, of one and of none, on two workers with two GPUs each', () => {
  const ORDERS: readonly (readonly Kind[])[] = [
    ['two', 'one', 'plain'],
    ['two', 'plain', 'one'],
    ['one', 'two', 'plain'],
    ['one', 'plain', 'two'],
    ['plain', 'two', 'one'],
    ['plain', 'one', 'two'],
  ];

  test.each(ORDERS)('submitted at once, first %s, then %s, then %s', (...kinds) => {
    const gpus = new GpuFarm();
    const startMs = gpus.farm.nowMs;
    for (const kind of kinds) gpus.submit(kind, kind === 'two' ? 1 : 100);
    gpus.cluster.play();
    expectEnd(gpus, startMs);
  });

  test.each([0, 20, 50, 90])('the large one comes when %i of the others have begun', (begun) => {
    for (const priority of [0, 1]) {
      const gpus = new GpuFarm();
      const startMs = gpus.farm.nowMs;
      gpus.submit('one', 100);
      gpus.submit('plain', 100);
      gpus.cluster.play(() => gpus.startedOf('one') >= begun);
      gpus.submit('two', 1, priority);
      gpus.cluster.play();
      expectEnd(gpus, startMs);
    }
  });

  test.each([0, 1])('large ones run although small ones keep coming, priority %i', (priority) => {
    const gpus = new GpuFarm();
    gpus.submit('one', 8);
    gpus.submit('plain', 20);
    const waits: number[] = [];
    let followed = 0;
    for (let large = 1; large <= 5; large++) {
      gpus.submit('two', 1, priority);
      const submittedMs = gpus.farm.nowMs;
      gpus.cluster.onStep = () => {
        gpus.check();
        // Whatever starts is followed by another of its kind.
        for (; followed < gpus.cluster.started.length; followed++) {
          const kind = kindOf(gpus.cluster.started[followed]?.[0] ?? '');
          if (kind !== 'two') gpus.submit(kind);
        }
      };
      const isOver = (): boolean => gpus.farm.nowMs > submittedMs + 20_000;
      gpus.cluster.play(() => gpus.startedOf('two') >= large || isOver());
      expect(gpus.startedOf('two')).toBe(large);
      waits.push(gpus.farm.nowMs - submittedMs);
    }
    // Those before it, the time until a worker is cleared, and what runs there then.
    const boundMs = 3 * MS.one * 1.6 + RESERVE_MS + MS.two * 1.6;
    expect(Math.max(...waits)).toBeLessThan(boundMs);
    // Meanwhile all else was at work: GPUs and slots at half of their rate at least.
    const passedMs = gpus.farm.nowMs - 1_000;
    expect(gpus.startedOf('one')).toBeGreaterThan((passedMs / (MS.one * 1.3)) * 2);
    expect(gpus.startedOf('plain')).toBeGreaterThan((passedMs / (MS.plain * 1.3)) * 2);
  });

  test('a large one does not wait for a worker that something holds for ever', () => {
    for (const holdsAfterMs of [0, 300, 600, 700, 800, 900, 1_000, 1_100]) {
      const farm = new SchedulerHarness({ reserveAfterMs: RESERVE_MS });
      const client = farm.client('c');
      const hello = { nthreads: SLOTS, resources: amounts({ GPU: CAPACITY }) };
      const workers = ['a', 'b'].map((name) => farm.worker(name, hello));
      const slots = new Map(workers.map((worker) => [worker, SLOTS]));
      const cluster = new VirtualWorkers(farm, slots, (key) => ({
        durationMs: key === 'for ever' ? 1e9 : 300 + 37 * (Number(key.split('-')[1]) % 5),
        size: 8,
      }));
      const one = { resources: amounts({ GPU: 1 }) };
      client.submit({ key: 'one', fn: 'one', count: 10_000, options: one });
      const two = { resources: amounts({ GPU: 2 }), priority: 1 };
      client.submit({ key: 'two', fn: 'two', options: two });
      const { nowMs } = farm;
      const hasBegun = (): boolean => cluster.started.some(([key]) => key === 'two');
      cluster.play(() => hasBegun() || farm.nowMs >= nowMs + holdsAfterMs);
      // Nobody knows yet how long it takes.
      const forEver = { ...one, priority: 2 };
      client.submit({ key: 'for ever', fn: 'endless', options: forEver });
      cluster.play(() => hasBegun() || farm.nowMs > nowMs + 60_000);
      expect(hasBegun(), `held after ${holdsAfterMs} ms`).toBe(true);
      expect(farm.nowMs - nowMs, `held after ${holdsAfterMs} ms`).toBeLessThan(5 * RESERVE_MS);
    }
  });
});
