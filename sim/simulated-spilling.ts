import { dataFailed, failure } from '@farm/protocol';
import type { GetData } from '@farm/protocol';

import type { Load, Spill, WorkerEvent } from '../packages/worker/src/core/index.ts';
import { serveData } from '../packages/worker/src/shell/data/serve-data.ts';
import type { DataOutlet } from '../packages/worker/src/shell/data/serve-data.ts';
import type { Clock } from './clock.ts';
import type { Coverage } from './coverage.ts';
import { check } from './failure.ts';
import type { SimulatedProcess } from './process.ts';
import type { WorkerPlan } from './scenario.ts';
import { SPILLABLE_BYTES, type SimulatedStore } from './simulated-store.ts';
import { SAMPLE_MS } from './worker-memory.ts';
import type { WorkerMemory } from './worker-memory.ts';

/** Whose values are spilled, and who is told of it. */
export interface SpillingOptions {
  /** Of the session, for humans. */
  readonly name: string;
  readonly worker: {
    readonly plan: WorkerPlan;
    readonly process: SimulatedProcess;
    readonly memory: WorkerMemory | undefined;
  };
  readonly store: SimulatedStore;
  readonly clock: Clock;
  readonly coverage: Coverage;
  readonly post: (event: WorkerEvent) => void;
}

/**
 * The memory of a session and the files its values are spilled to: samples, writes, reads and
 * serves, in virtual time.
 */
export class SimulatedSpilling {
  readonly #options: SpillingOptions;
  #isClosed = false;
  /** Of values that were given up while they were being sent. */
  #givenUpBytes = 0;

  constructor(options: SpillingOptions) {
    this.#options = options;
  }

  /** Looks at the memory again and again, where there is a limit. */
  sampleSoon(): void {
    const { worker, store, clock, post } = this.#options;
    const { memory, process } = worker;
    if (memory === undefined) return;
    process.after(SAMPLE_MS, () => {
      if (this.#isClosed) return;
      const givenUpBytes = this.#givenUpBytes;
      const rssBytes = memory.sample(store.spillableBytes + givenUpBytes);
      post({ kind: 'memory-sampled', nowMs: clock.nowMs, rssBytes, givenUpBytes });
      this.sampleSoon();
    });
  }

  /** Looks no more. */
  close(): void {
    this.#isClosed = true;
  }

  /** Sends a part of a value, out of memory or its file. */
  serve(request: GetData, outlet: DataOutlet): void {
    const { worker, store, coverage } = this.#options;
    const { task } = request;
    const { name } = worker.plan;
    const where = store.where(task);
    if (where === 'damaged file') {
      this.#lost(task);
      const why = failure('ERR_LOST_DATA', `the file of ${task} is damaged`, '', name, null);
      outlet.send(dataFailed(request.request, why));
      return;
    }
    if (where === 'file') coverage.happened('value served from a file');
    store.withFiles(() => serveData(request, store, outlet, name));
  }

  spill({ task, transfer }: Spill): void {
    const { name, worker, store, clock, coverage, post } = this.#options;
    const { memory, process } = worker;
    const value = store.get(task);
    check(memory !== undefined, 'memory', `${name} has no memory limit, and spills`);
    check(value !== undefined, 'memory', `${name} spills ${task}, which is not in memory`);
    process.after(memory.transferMs(), () => {
      const { nowMs } = clock;
      if (memory.isDiskFull) {
        coverage.happened('file not written');
        post({ kind: 'spill-failed', nowMs, task, transfer, reason: 'the disk is full' });
      } else if (store.written(task, value)) {
        coverage.happened('value written to a file');
        post({ kind: 'value-spilled', nowMs, task, transfer });
      }
    });
  }

  evict(task: number): void {
    const { name, store, coverage } = this.#options;
    check(store.hasFile(task), 'memory', `${name} gives up ${task}, which has no file`);
    coverage.happened('value evicted');
    this.#giveUp(store.get(task)?.byteLength ?? 0);
    store.evict(task);
  }

  /** Drops values, some of which somebody is being sent. */
  drop(tasks: readonly number[]): void {
    const { store } = this.#options;
    for (const task of tasks) this.#giveUp(store.get(task)?.byteLength ?? 0);
    store.drop(tasks);
  }

  #giveUp(sizeBytes: number): void {
    const { worker, coverage } = this.#options;
    const { memory, process } = worker;
    if (memory === undefined || sizeBytes < SPILLABLE_BYTES) return;
    const departsMs = memory.departsMs();
    if (departsMs === 0) return;
    coverage.happened('value given up while it is sent');
    this.#givenUpBytes += sizeBytes;
    process.after(departsMs, () => (this.#givenUpBytes -= sizeBytes));
  }

  load({ task, transfer }: Load): void {
    const { name, worker, store, clock, coverage, post } = this.#options;
    const { memory, process } = worker;
    check(memory !== undefined, 'memory', `${name} has no memory limit, and loads`);
    process.after(memory.transferMs(), () => {
      if (store.reload(task) === 'lost') {
        this.#lost(task);
        return;
      }
      coverage.happened('value loaded');
      post({ kind: 'value-loaded', nowMs: clock.nowMs, task, transfer });
    });
  }

  #lost(task: number): void {
    const { clock, coverage, post } = this.#options;
    coverage.happened('spilled value lost');
    post({ kind: 'value-lost', nowMs: clock.nowMs, task, reason: 'its file is damaged' });
  }
}
