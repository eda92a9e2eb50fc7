/**
 * Goal: whatever clients and workers do, every wanted task ends, and nothing is left once nobody
 * wants anything. Method: a seed decides a long row of steps of clients and workers, misfortunes
 * included; the core is validated after each. Then misfortunes end, a worker that fits everything
 * joins, and the work must come to its end.
 */
import { stopped } from '@farm/protocol/core';
import type { TaskOptions } from '@farm/protocol/core';
import { expect, test } from 'vitest';

import { RandomSource } from './random-source.ts';
import { SchedulerHarness, amounts, memoryError } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';

const SEEDS = Number(process.env['FARM_SEEDS'] ?? 150);
const FIRST_SEED = Number(process.env['FARM_SEED'] ?? 1);
const STEPS = 120;

type Status = 'pending' | 'finished' | 'failed';

/** Over all seeds. */
const stolen = { moved: 0, kept: 0, copied: 0 };

class RandomCluster {
  readonly random: RandomSource;
  readonly farm: SchedulerHarness;
  readonly clients: { readonly fake: FakeClient; readonly futures: Map<number, Status> }[] = [];
  workers: FakeWorker[] = [];
  /** Workers have time for copies of what is slow. */
  readonly isCalm: boolean;
  #names = 0;

  constructor(seed: number) {
    this.random = new RandomSource(seed);
    this.isCalm = this.random.chance(0.3);
    const inlineTotalBytesMax = this.random.pick([0, 350, 10_000_000]) ?? 0;
    // Slow connections: tasks pile up where their inputs are, and move on from there.
    const stealing = { stealIntervalMs: 5, stealCostMs: 1, stealAgainMs: 20 };
    this.farm = new SchedulerHarness({
      inlineTotalBytesMax,
      reserveAfterMs: 20,
      bandwidthBytesPerS: 1_000,
      ...stealing,
    });
  }

  step(): void {
    const { random, farm } = this;
    farm.nowMs += random.below(10);
    const client = random.pick(this.clients);
    const worker = random.pick(this.workers);
    const what = random.below(100);
    const isBeat = this.isCalm && random.chance(0.3);
    if (isBeat && worker !== undefined) this.beat(worker);
    else if (client === undefined || what < 2) this.addClient();
    else if (what < 30) this.submit(client);
    else if (what < 36) this.release(client, 0.2);
    else if (what < 39) this.cancel(client);
    else if (what < 41) client.fake.retry(...random.some([...client.futures.keys()], 0.5));
    else if (what < 42) this.removeClient(client);
    else if (what < 43) this.cutClient(client);
    else if (worker === undefined || what < 47) this.addWorker();
    else if (what < 50) this.loseWorker(worker);
    else if (what < 51) worker.leave();
    else if (what < 53) this.cutWorker(worker);
    else if (what < 54) farm.tick(30);
    else if (what < 57) this.beat(worker);
    else if (what < 59) this.reportOther(worker);
    else if (what < 62) this.handBack(worker);
    else if (what < 65) worker.answerStops();
    else if (what < 68) worker.keepRuns();
    else if (what < 76) this.moveData(client, worker);
    else this.work(worker, 0.1);
    this.closeRetired();
    this.listen();
  }

  addClient(): void {
    const { random } = this;
    const weight = random.chance(0.2) ? 1 + random.below(3) : null;
    this.clients.push({
      fake: this.farm.client(`c${this.#names++}`, { weight }),
      futures: new Map(),
    });
  }

  removeClient(client: (typeof this.clients)[number]): void {
    this.clients.splice(this.clients.indexOf(client), 1);
    // What a client says while it is cut off is not heard.
    if (this.random.chance(0.5) && !client.fake.isCut) client.fake.close();
    else client.fake.lose();
  }

  addWorker(): void {
    const { random } = this;
    if (this.workers.length > 4) return;
    const resources = random.chance(0.5) ? { GPU: 1 + random.below(2) } : {};
    const name = `w${this.#names++}`;
    const nthreads = 1 + random.below(3);
    const memoryLimitBytes = this.isCalm ? null : (random.pick([null, 1e9, 3e9, 5e9]) ?? null);
    const hello = { nthreads, resources: amounts(resources), memoryLimitBytes };
    this.workers.push(this.farm.worker(name, hello));
  }

  /** A client loses its socket, or gets one again. */
  cutClient({ fake }: (typeof this.clients)[number]): void {
    if (fake.isCut) fake.mend();
    else fake.cut();
  }

  /** A worker loses its socket, or gets one again. */
  cutWorker(worker: FakeWorker): void {
    if (worker.isCut) worker.mend();
    else worker.cut();
  }

  loseWorker(worker: FakeWorker): void {
    this.workers.splice(this.workers.indexOf(worker), 1);
    worker.lose();
  }

  submit({ fake, futures }: (typeof this.clients)[number]): void {
    const { random } = this;
    const isBlock = random.chance(0.4);
    const count = isBlock ? 1 + random.below(this.isCalm ? 3 : 12) : 1;
    const known = Math.max(1, fake.nextId);
    const deps = Array.from({ length: count }, () =>
      Array.from({ length: random.below(4) }, () => random.below(known)),
    );
    const hasDeps = fake.nextId > 0 && random.chance(0.6);
    const key = isBlock || random.chance(0.9) ? `k${this.#names++}` : `shared${random.below(3)}`;
    const first = fake.submit({
      key,
      fn: random.pick(['f', 'g', 'h']) ?? 'f',
      // Where little is to be done, whatever has run for a moment is slow.
      options: { ...this.options(), speculate: this.isCalm ? [0, 0] : null },
      ...this.parent(),
      ...(isBlock ? { count } : {}),
      ...(hasDeps ? { deps } : {}),
    });
    for (let id = first; id < first + count; id++) futures.set(id, 'pending');
  }

  /** Now and then a task submits it: one that runs, or has run, or never did. */
  parent(): { readonly parent?: string } {
    const { random } = this;
    if (!random.chance(0.2)) return {};
    return { parent: random.pick(random.pick(this.workers)?.keys() ?? []) ?? 'unknown' };
  }

  options(): Partial<TaskOptions> {
    const { random } = this;
    const kind = random.below(10);
    if (kind === 0) return { resources: amounts({ GPU: 1 + random.below(2) }) };
    if (kind === 1) return { resources: amounts({ threads: 2 }), priority: random.below(3) };
    if (kind === 2) {
      const retryDelayMs = random.pick([0, 20, 200]) ?? 0;
      return { retries: random.below(3), retryDelayMs, rerunOnLoss: random.chance(0.7) };
    }
    if (kind === 3) {
      const workers = ['last', random.pick(this.workers)?.name ?? 'nowhere'];
      return { workers, allowOtherWorkers: random.chance(0.5) };
    }
    if (kind === 4 && !this.isCalm) {
      const growMemory = random.pick([null, 1.5, 2]) ?? null;
      return { resources: amounts({ memory: 1e9 }), retries: random.below(2), growMemory };
    }
    return {};
  }

  release({ fake, futures }: (typeof this.clients)[number], probability: number): void {
    const ids = this.random.some([...futures.keys()], probability);
    for (const id of ids) futures.delete(id);
    fake.release(...ids);
  }

  cancel({ fake, futures }: (typeof this.clients)[number]): void {
    fake.cancel(...this.random.some([...futures.keys()], 0.1));
  }

  /** Values are handed over; copies are made, refused, moved; workers retire. */
  moveData({ fake, futures }: (typeof this.clients)[number], worker: FakeWorker): void {
    const { random } = this;
    const kind = random.below(8);
    const names = random.chance(0.7) ? [] : [worker.name];
    const ids = random.some([...futures.keys()], 0.2);
    if (kind === 0) {
      const values = Array.from({ length: 1 + random.below(3) }, (_, at) => `value ${at}`);
      const timeoutMs = random.pick([0, 50, 100_000]) ?? 0;
      const first = fake.scatter(values, { copies: random.below(3), workers: names, timeoutMs });
      for (let id = first; id < first + values.length; id++) futures.set(id, 'pending');
    } else if (kind === 1) {
      fake.ask('replicate', { ids, copies: random.below(4), workers: names });
    } else if (kind === 2) {
      fake.ask('rebalance', { ids: [], workers: [] });
    } else if (kind === 3 && random.chance(0.3)) {
      const close = random.chance(0.7);
      const timeoutMs = random.below(100);
      fake.ask('retire-workers', { workers: [worker.name], count: 0, close, timeoutMs });
    } else if (kind === 4) {
      worker.failToAcquire();
    } else {
      worker.takeIn();
    }
  }

  /** Workers that were told to close do so. */
  closeRetired(): void {
    for (const worker of [...this.workers]) {
      if (worker.taken('close-worker').length === 0) continue;
      if (this.random.chance(0.8)) worker.leave();
      this.loseWorker(worker);
    }
  }

  /** A report about a run that is not this worker's, or was once. */
  reportOther(worker: FakeWorker): void {
    const run = this.random.below(200);
    const isOwn = worker.stopping.includes(run) || worker.runs.some((own) => own.run === run);
    if (!isOwn) worker.finishRun(run);
  }

  handBack(worker: FakeWorker): void {
    const runs = this.random.some(worker.runs, 0.3).map(({ run }) => run);
    worker.runs = worker.runs.filter(({ run }) => !runs.includes(run));
    worker.say(stopped(runs, []));
  }

  /** The worker says what it executes, and a moment later that it still does. */
  beat(worker: FakeWorker): void {
    const executing = this.random.some(worker.runs, 0.5).map(({ run }) => run);
    worker.beat(...executing);
    this.farm.nowMs += this.random.below(3);
    worker.beat(...executing);
  }

  /** The worker fetches inputs and ends some of its runs; with a chance they fail. */
  work(worker: FakeWorker, failures: number): void {
    const { random } = this;
    for (const run of random.some([...worker.runs], 0.5)) {
      // What one report brings about may take away what was to be reported next.
      if (!worker.runs.includes(run)) continue;
      const missing = run.inputs.find(
        ({ task, value }) => value === null && !this.has(worker, task),
      );
      if (missing !== undefined) {
        worker.missInput(run.key, missing.task, missing.holders);
        continue;
      }
      const fetched = run.inputs.filter(
        ({ task, value }) => value === null && !worker.data.has(task),
      );
      if (fetched.length > 0 && random.chance(0.8)) worker.hold(...fetched.map(({ task }) => task));
      if (!worker.runs.includes(run)) continue;
      const isMemory = run.resources.some(([name]) => name === 'memory');
      if (isMemory && random.chance(6 * failures)) worker.fail(run.key, memoryError(run.key));
      else if (random.chance(failures)) worker.fail(run.key);
      else if (random.chance(0.3)) worker.finishLarge(run.key, 10_000, random.below(300_000));
      else worker.finish({ [run.key]: `r(${run.key})` }, random.below(1_000));
    }
  }

  /** Whether the worker can get the data from itself, from a peer or through the scheduler. */
  has(worker: FakeWorker, task: number): boolean {
    if (worker.data.has(task) || this.workers.some(({ data }) => data.has(task))) return true;
    worker.say({ op: 'get-relayed', request: 1, task, offset: 0, length: 1 });
    return this.farm.others().some(({ do: what }) => what === 'send-data');
  }

  /** Clients take in what they heard. */
  listen(): void {
    for (const { fake, futures } of this.clients) {
      const become = (ids: readonly number[], status: Status): void => {
        for (const id of ids) if (futures.has(id)) futures.set(id, status);
      };
      for (const message of fake.take()) {
        if (message.op === 'results') become(message.ids, 'finished');
        else if (message.op === 'failed') become(message.ids, 'failed');
        else if (message.op === 'recomputing') become(message.ids, 'pending');
        else if (message.op === 'cancelled') for (const id of message.ids) futures.delete(id);
      }
    }
  }

  /** Misfortunes end; all work must come to its end. */
  heal(): void {
    const options = { nthreads: 4, resources: amounts({ GPU: 4 }) };
    for (const worker of this.workers) if (worker.isCut) worker.mend();
    for (const { fake } of this.clients) if (fake.isCut) fake.mend();
    this.workers.push(this.farm.worker('last', options));
    for (let round = 0; round < 2_000 && this.isBusy(); round++) {
      this.farm.tick(100);
      this.closeRetired();
      for (const worker of this.workers) {
        worker.answerStops();
        worker.takeIn();
        this.work(worker, 0);
      }
      this.listen();
    }
    // Clients that were cut off hear now what they missed, though nothing was left to do.
    this.listen();
  }

  isBusy(): boolean {
    const { waiting, queued, processing, 'no-worker': unrunnable } = this.farm.core.counts();
    return waiting + queued + processing + unrunnable > 0;
  }
}

test.each(Array.from({ length: SEEDS }, (_, index) => FIRST_SEED + index))(
  'a random cluster ends its work and leaves nothing, seed %i',
  (seed) => {
    const cluster = new RandomCluster(seed);
    for (let step = 0; step < STEPS; step++) cluster.step();
    cluster.heal();
    const { runsMoved, runsKept, runsCopied } = cluster.farm.core.statistics();
    stolen.moved += runsMoved;
    stolen.kept += runsKept;
    stolen.copied += runsCopied;
    for (const { futures } of cluster.clients) {
      expect([...futures].filter(([, status]) => status === 'pending')).toEqual([]);
    }
    const { memory } = cluster.farm.core.counts();
    const finished = cluster.clients.flatMap(({ futures }) =>
      [...futures.values()].filter((status) => status === 'finished'),
    );
    expect(memory).toBeLessThanOrEqual(finished.length);
    for (const client of cluster.clients) cluster.release(client, 1);
    for (const { fake } of cluster.clients) fake.close();
    for (const worker of cluster.workers) worker.answerStops();
    cluster.farm.expectEmpty();
    for (const worker of cluster.workers) {
      expect({ runs: worker.runs, data: worker.data, functions: worker.functions }).toEqual({
        runs: [],
        data: new Set(),
        functions: new Set(),
      });
    }
  },
);

test.runIf(SEEDS >= 100)('runs were taken from loaded workers, kept by some, and copied', () => {
  expect(stolen.moved).toBeGreaterThan(SEEDS / 10);
  expect(stolen.kept).toBeGreaterThan(0);
  expect(stolen.copied).toBeGreaterThan(SEEDS / 10);
});
