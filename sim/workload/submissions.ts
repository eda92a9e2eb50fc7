import type { TaskOptions } from '@farm/protocol/core';

import type { Random } from '../prng.ts';
import type { Behaviour, ClientAction, TaskPlan } from '../scenario.ts';
import type { DrawnOp } from './drawn-op.ts';
import type { TaskMaker } from './task-maker.ts';
import type { WorkloadOptions } from './workload-options.ts';

/** One task as the shapes make it. */
export interface Node {
  readonly deps: readonly number[];
}

/** What tasks that are submitted together have in common. */
export interface Block {
  readonly fn: string;
  readonly options: TaskOptions;
  /** One operation for all, instead of one for each. */
  readonly asBlock: boolean;
  /** Drawn for each task where it is left out. */
  readonly sizeBytes?: number;
  /** Drawn for each task where it is left out. */
  readonly behaviour?: Behaviour;
}

/** The tasks that clients have, and all they were drawn to do so far, in the order of drawing. */
export class Submissions {
  readonly #random: Random;
  readonly #features: ReadonlySet<string>;
  readonly #tasks: TaskMaker;
  readonly #ops: DrawnOp[] = [];
  /** Tasks by client. */
  readonly #known: number[][];
  readonly #byRef = new Map<number, { readonly task: TaskPlan; readonly atMs: number }>();
  #nextRef = 0;
  #nextKey = 0;

  constructor(random: Random, options: WorkloadOptions, tasks: TaskMaker) {
    this.#random = random;
    this.#features = options.features;
    this.#tasks = tasks;
    this.#known = Array.from({ length: options.clients }, () => []);
  }

  /** What clients do. */
  get ops(): readonly DrawnOp[] {
    return this.#ops;
  }

  /** How many tasks there are. */
  get count(): number {
    return this.#nextRef;
  }

  /** The task of that number, if it is drawn. */
  task(ref: number): TaskPlan | undefined {
    return this.#byRef.get(ref)?.task;
  }

  /** Some tasks of the client that are submitted by then, whatever has become of them. */
  roots(client: number, atMs: number): number[] {
    const random = this.#random;
    const known = (this.#known[client] ?? []).filter(
      (ref) => (this.#byRef.get(ref)?.atMs ?? 0) <= atMs,
    );
    if (known.length === 0 || random.chance(0.3)) return [];
    return Array.from({ length: random.below(4) }, () => random.pick(known));
  }

  /** Tasks that the client submits, at once or one by one; returns what stands for them. */
  submit(client: number, atMs: number, nodes: readonly Node[], block: Block): number[] {
    const random = this.#random;
    const { fn, options, asBlock } = block;
    const made = nodes.map(({ deps }): TaskPlan => {
      return {
        ref: this.#nextRef++,
        deps,
        sizeBytes: block.sizeBytes ?? this.#tasks.sizeBytes(),
        durationMs: this.#tasks.durationMs(fn),
        behaviour: block.behaviour ?? this.#tasks.behaviour(options),
      };
    });
    const blocks = asBlock ? [made] : made.map((task) => [task]);
    for (const tasks of blocks) {
      const own = `k${this.#nextKey++}`;
      const contested = this.#features.has('contested-keys') && random.chance(0.1);
      const key = contested && this.#nextKey > 4 ? `k${random.below(this.#nextKey - 1)}` : own;
      const indexFrom = asBlock ? random.below(3) : null;
      this.add(atMs, client, { kind: 'submit', key, indexFrom, fn, options, tasks });
      for (const task of tasks) {
        this.#know(client, atMs, task);
      }
    }
    return made.map(({ ref }) => ref);
  }

  /** Values that the client hands over; returns what stands for them. */
  scatter(client: number, atMs: number, count: number): number[] {
    const random = this.#random;
    const sizeBytes = random.pick([16, 3_000, 20_000]);
    const tasks = Array.from({ length: count }, (): TaskPlan => {
      const behaviour = { kind: 'scattered' } as const;
      return { ref: this.#nextRef++, deps: [], sizeBytes, durationMs: 0, behaviour };
    });
    const key = `v${this.#nextKey++}`;
    const copies = random.pick([0, 1, 1, 2]);
    const timeoutMs = random.chance(0.3) ? 200 : 3_600_000;
    this.add(atMs, client, { kind: 'scatter', key, indexFrom: 0, copies, timeoutMs, tasks });
    for (const task of tasks) this.#know(client, atMs, task);
    return tasks.map(({ ref }) => ref);
  }

  /** Something else that the client does. */
  add(atMs: number, client: number, action: ClientAction): void {
    this.#ops.push({ atMs, client, action });
  }

  #know(client: number, atMs: number, task: TaskPlan): void {
    this.#byRef.set(task.ref, { task, atMs });
    this.#known[client]?.push(task.ref);
  }
}
