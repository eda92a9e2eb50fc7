/** Random graphs, and what else clients do with them. */
import { taskOptions } from '@farm/protocol/core';
import type { TaskOptions } from '@farm/protocol/core';

import type { Random } from './prng.ts';
import type { Behaviour, ClientAction, ClientOp, TaskPlan, WorkerPlan } from './scenario.ts';
import { drawLeases, drawQueues, drawRetirements } from './shared-work.ts';
import type { DrawnOp } from './shared-work.ts';

/** What the workload of a seed may contain, and how often. */
export interface WorkloadOptions {
  readonly tasks: number;
  readonly clients: number;
  /** When the last submit comes at the latest. */
  readonly untilMs: number;
  readonly workers: readonly WorkerPlan[];
  /** Names out of {@link WORKLOAD_FEATURES}. */
  readonly features: ReadonlySet<string>;
}

/** What a workload has in some seeds and not in others. */
export const WORKLOAD_FEATURES = [
  'task-error',
  'task-hang',
  'task-timeout',
  'slot-crash',
  'poison',
  'large-values',
  'huge-values',
  'micro-tasks',
  'long-tasks',
  'resources',
  'restrictions',
  'priorities',
  'retries',
  'release',
  'cancel',
  'client-retry',
  'gather',
  'questions',
  'shared-keys',
  'contested-keys',
  'flip-flop',
  'foreign-futures',
  'retry-delays',
  'run-once',
  'flaky',
  'scatter',
  'copies',
  'retire',
  'leases',
  'queues',
] as const;

/** Some workers have a memory limit, and there are values that they spill. */
export const MEMORY_FEATURE = 'memory-limits';

/** A worker of this name can run anything; it comes when faults end. */
export const RESCUER = 'rescuer';

const SHAPES = [
  'map',
  'chain',
  'tree',
  'diamond',
  'fan',
  'layers',
  'random',
  'comb',
  'late-copies',
  'flips',
  'scatter',
  'single',
] as const;

/** One task as the shapes make it. */
interface Node {
  readonly deps: readonly number[];
}

/** Draws what clients do. */
export class WorkloadMaker {
  readonly #random: Random;
  readonly #options: WorkloadOptions;
  readonly #ops: DrawnOp[] = [];
  /** Tasks by client. */
  readonly #known: number[][];
  readonly #byRef = new Map<
    number,
    { task: TaskPlan; key: string; atMs: number; client: number }
  >();
  #nextRef = 0;
  #nextKey = 0;

  constructor(random: Random, options: WorkloadOptions) {
    this.#random = random;
    this.#options = options;
    this.#known = Array.from({ length: options.clients }, () => []);
  }

  /** Everything clients do, in order of time. */
  make(): readonly ClientOp[] {
    const { tasks, untilMs } = this.#options;
    while (this.#nextRef < tasks) {
      this.#shape(this.#random.between(0, untilMs), tasks - this.#nextRef);
    }
    this.#afterwards();
    this.#share();
    return this.#ops
      .toSorted((a, b) => a.atMs - b.atMs)
      .map(({ atMs, client, action }, index) => ({ id: `o${index}`, atMs, client, action }));
  }

  #has(feature: (typeof WORKLOAD_FEATURES)[number] | typeof MEMORY_FEATURE): boolean {
    return this.#options.features.has(feature);
  }

  #shape(startMs: number, tasksMax: number): void {
    const random = this.#random;
    const client = random.below(this.#options.clients);
    const shape = random.pick(SHAPES);
    const count = Math.min(tasksMax, Math.ceil(random.spread(1, 60)));
    const fn = `f${random.below(4)}`;
    const options = this.#taskOptions();
    let atMs = startMs;
    const stretchMs = random.chance(0.5) ? 0 : random.spread(0.1, 300);
    const submit = (nodes: readonly Node[], asBlock: boolean): number[] => {
      atMs += stretchMs;
      return this.#submit(client, atMs, nodes, { fn, options, asBlock });
    };
    const roots = (): number[] => this.#roots(client, atMs);
    switch (shape) {
      case 'map': {
        const inputs = roots();
        submit(
          Array.from({ length: count }, () => ({ deps: random.some(inputs, 0.5) })),
          true,
        );
        break;
      }
      case 'chain': {
        let last = roots().slice(0, 1);
        for (let i = 0; i < count; i++) last = submit([{ deps: last }], false);
        break;
      }
      case 'tree': {
        const fanIn = 2 + random.below(3);
        let level = submit(
          Array.from({ length: Math.ceil(count / 2) }, () => ({ deps: [] })),
          true,
        );
        while (level.length > 1) {
          const groups: Node[] = [];
          for (let i = 0; i < level.length; i += fanIn)
            groups.push({ deps: level.slice(i, i + fanIn) });
          level = submit(groups, random.chance(0.5));
        }
        break;
      }
      case 'diamond': {
        const top = submit([{ deps: roots().slice(0, 2) }], false);
        const middle = submit(
          Array.from({ length: count }, () => ({ deps: top })),
          true,
        );
        submit([{ deps: middle.slice(0, 40) }], false);
        break;
      }
      case 'fan': {
        const leaves = submit(
          Array.from({ length: count }, () => ({ deps: [] })),
          true,
        );
        submit([{ deps: leaves }], false);
        break;
      }
      case 'layers': {
        let layer = submit(
          Array.from({ length: Math.ceil(count / 3) }, () => ({ deps: [] })),
          true,
        );
        for (let i = 0; i < 2; i++) {
          const above = layer;
          layer = submit(
            above.map(() => ({ deps: random.some(above, 0.3) })),
            random.chance(0.7),
          );
        }
        break;
      }
      case 'random':
        for (let i = 0; i < count; i++) {
          const inputs = roots();
          // The same input several times is one dependency.
          submit([{ deps: random.chance(0.1) ? [...inputs, ...inputs] : inputs }], false);
        }
        break;
      case 'comb':
        this.#comb(client, atMs, Math.min(count, 30), { fn, options });
        break;
      case 'late-copies':
        this.#lateCopies(client, atMs, Math.min(count, 20), { fn, options });
        break;
      case 'flips':
        this.#flips(client, atMs, Math.min(count, 6), options);
        break;
      case 'scatter': {
        const values = this.#has('scatter') ? this.#scatter(client, atMs, Math.min(count, 8)) : [];
        submit(
          Array.from({ length: Math.min(count, 20) }, () => ({ deps: random.some(values, 0.4) })),
          random.chance(0.5),
        );
        break;
      }
      case 'single':
        submit([{ deps: [] }], random.chance(0.3));
        break;
    }
  }

  /**
   * Large values and tasks that need two of them each, so that some have to be fetched; pairs are
   * given up at all times of that.
   */
  #comb(
    client: number,
    atMs: number,
    count: number,
    { fn, options }: { fn: string; options: TaskOptions },
  ): void {
    const random = this.#random;
    const leaves = Array.from({ length: count + 1 }, () => ({ deps: [] }));
    const sizeBytes = random.pick([5_000, 40_000]);
    const large = this.#submit(client, atMs, leaves, { fn, options, asBlock: true, sizeBytes });
    const pairs = large.slice(1).map((ref, index) => ({ deps: [ref, large[index] ?? ref] }));
    const users = this.#submit(client, atMs, pairs, { fn, options, asBlock: true });
    const windowMs = random.spread(1, 500);
    for (const [index, user] of users.entries()) {
      const inputs = large.slice(index, index + 2);
      const refs = random.chance(0.7) ? [user, ...inputs] : [user];
      const kind = random.chance(0.7) ? 'release' : 'cancel';
      this.#add(atMs + windowMs * random.between(0, 1), client, { kind, refs });
    }
  }

  /**
   * Large results that others fetch and that are given up meanwhile, and perhaps wanted again at
   * once: copies arrive of what is released, or is being made anew. A task that is kept, and needed
   * the result, keeps it known.
   */
  #lateCopies(
    client: number,
    atMs: number,
    count: number,
    { fn, options }: { fn: string; options: TaskOptions },
  ): void {
    const random = this.#random;
    const sizeBytes = random.pick([9_000, 60_000, 300_000]);
    const made = { fn, options, asBlock: true };
    const leaves = Array.from({ length: count }, () => ({ deps: [] }));
    const large = this.#submit(client, atMs, leaves, { ...made, sizeBytes });
    this.#submit(
      client,
      atMs,
      large.map((ref) => ({ deps: [ref] })),
      { ...made, options: taskOptions({ priority: 1 }) },
    );
    const pairs = large.map((ref, index) => ({ deps: [ref, large[(index + 1) % count] ?? ref] }));
    const users = this.#submit(client, atMs, pairs, made);
    const windowMs = random.spread(5, 2_000);
    for (const [index, user] of users.entries()) {
      const input = large[index] ?? user;
      let whenMs = atMs + windowMs * random.between(0, 1);
      for (let times = 1 + random.below(3); times > 0; times--) {
        const others = users.filter((_, at) => at === index || (at + 1) % count === index);
        const kind = random.chance(0.7) ? 'release' : 'cancel';
        this.#add(whenMs, client, { kind, refs: [...others, input] });
        if (random.chance(0.3)) break;
        whenMs += random.spread(0.1, 30);
        this.#add(whenMs, client, { kind: 'share', refs: [input] });
        whenMs += random.spread(0.1, 100);
      }
    }
  }

  /**
   * Tasks that are given up and wanted again while they run, so that several runs of one are under
   * way. What is made of them is kept: it keeps them known, under the same number.
   */
  #flips(client: number, atMs: number, count: number, options: TaskOptions): void {
    const random = this.#random;
    const fn = random.pick(['f2', 'f3']);
    const sizeBytes = random.pick([16, 9_000]);
    const leaves = Array.from({ length: count }, () => ({ deps: [] }));
    const behaviour: Behaviour = { kind: random.chance(0.4) ? 'flaky' : 'returns' };
    const made = { fn, options, asBlock: true, sizeBytes, behaviour };
    const tasks = this.#submit(client, atMs, leaves, made);
    const kept = tasks.map((ref) => ({ deps: [ref] }));
    this.#submit(client, atMs, kept, { fn: 'f0', options: taskOptions({}), asBlock: true });
    const usualMs = random.spread(2, 80);
    for (const ref of tasks) {
      let whenMs = atMs + random.between(0, 200);
      for (let times = 2 + random.below(6); times > 0; times--) {
        const kind = random.chance(0.7) ? 'release' : 'cancel';
        this.#add(whenMs, client, { kind, refs: [ref] });
        whenMs += random.spread(0.05, 5);
        this.#add(whenMs, client, { kind: 'share', refs: [ref] });
        whenMs += usualMs * random.between(0.2, 2);
      }
    }
  }

  /** Values that the client hands over; returns what stands for them. */
  #scatter(client: number, atMs: number, count: number): number[] {
    const random = this.#random;
    const sizeBytes = random.pick([16, 3_000, 20_000]);
    const tasks = Array.from({ length: count }, (): TaskPlan => {
      const behaviour = { kind: 'scattered' } as const;
      return { ref: this.#nextRef++, deps: [], sizeBytes, durationMs: 0, behaviour };
    });
    const key = `v${this.#nextKey++}`;
    const copies = random.pick([0, 1, 1, 2]);
    const timeoutMs = random.chance(0.3) ? 200 : 3_600_000;
    this.#add(atMs, client, { kind: 'scatter', key, indexFrom: 0, copies, timeoutMs, tasks });
    for (const [index, task] of tasks.entries()) {
      this.#byRef.set(task.ref, { task, key: `${key}-${index}`, atMs, client });
      this.#known[client]?.push(task.ref);
    }
    return tasks.map(({ ref }) => ref);
  }

  /** Some tasks of the client that are submitted by then, whatever has become of them. */
  #roots(client: number, atMs: number): number[] {
    const random = this.#random;
    const known = (this.#known[client] ?? []).filter(
      (ref) => (this.#byRef.get(ref)?.atMs ?? 0) <= atMs,
    );
    if (known.length === 0 || random.chance(0.3)) return [];
    return Array.from({ length: random.below(4) }, () => random.pick(known));
  }

  #submit(
    client: number,
    atMs: number,
    nodes: readonly Node[],
    block: {
      readonly fn: string;
      readonly options: TaskOptions;
      readonly asBlock: boolean;
      readonly sizeBytes?: number;
      readonly behaviour?: Behaviour;
    },
  ): number[] {
    const random = this.#random;
    const { fn, options, asBlock } = block;
    const made = nodes.map(({ deps }): TaskPlan => {
      return {
        ref: this.#nextRef++,
        deps,
        sizeBytes: block.sizeBytes ?? this.#size(),
        durationMs: this.#duration(fn),
        behaviour: block.behaviour ?? this.#behaviour(options),
      };
    });
    const blocks = asBlock ? [made] : made.map((task) => [task]);
    for (const tasks of blocks) {
      const own = `k${this.#nextKey++}`;
      const contested = this.#has('contested-keys') && random.chance(0.1);
      const key = contested && this.#nextKey > 4 ? `k${random.below(this.#nextKey - 1)}` : own;
      const indexFrom = asBlock ? random.below(3) : null;
      this.#ops.push({
        atMs,
        client,
        action: { kind: 'submit', key, indexFrom, fn, options, tasks },
      });
      for (const [index, task] of tasks.entries()) {
        const name = indexFrom === null ? key : `${key}-${indexFrom + index}`;
        this.#byRef.set(task.ref, { task, key: name, atMs, client });
        this.#known[client]?.push(task.ref);
      }
    }
    return made.map(({ ref }) => ref);
  }

  #size(): number {
    const random = this.#random;
    if (this.#has(MEMORY_FEATURE) && random.chance(0.3)) {
      return random.pick([16_384, 30_000, 80_000]);
    }
    if (this.#has('huge-values') && random.chance(0.02)) return 200_000 + random.below(400_000);
    if (this.#has('large-values') && random.chance(0.4)) {
      return random.pick([4_095, 4_096, 4_097, 9_000, 20_000]);
    }
    return 16 + random.below(80);
  }

  #duration(fn: string): number {
    const random = this.#random;
    // Tasks of one function are alike, more or less, and now and then one is not.
    const usual = { f0: 0.02, f1: 2, f2: 40, f3: 8 }[fn] ?? 1;
    let durationMs = usual * random.spread(0.3, 3);
    if (this.#has('micro-tasks')) durationMs *= 0.1;
    if (this.#has('long-tasks') && random.chance(0.2)) durationMs *= 50;
    if (random.chance(0.02)) durationMs *= 100;
    return Math.min(durationMs, 8_000);
  }

  #behaviour(options: TaskOptions): Behaviour {
    const random = this.#random;
    if (this.#has('task-error') && random.chance(0.08)) {
      return { kind: 'throws', times: random.chance(0.5) ? Infinity : 1 + random.below(3) };
    }
    if (this.#has('flaky') && random.chance(0.3)) return { kind: 'flaky' };
    if (options.retries > 0 && random.chance(0.3)) {
      return { kind: 'throws', times: 1 + random.below(options.retries + 1) };
    }
    if (options.timeoutMs !== null && random.chance(0.3)) return { kind: 'hangs' };
    if (this.#has('task-hang') && random.chance(0.02)) return { kind: 'hangs' };
    if (this.#has('slot-crash') && random.chance(0.05)) {
      return { kind: 'crashes-slot', times: random.chance(0.3) ? Infinity : 1 + random.below(2) };
    }
    if (this.#has('poison') && random.chance(0.01)) {
      return { kind: 'kills-worker', times: random.chance(0.5) ? Infinity : 1 + random.below(2) };
    }
    return { kind: 'returns' };
  }

  #taskOptions(): TaskOptions {
    const random = this.#random;
    const { workers } = this.#options;
    const resources: (readonly [string, number])[] = [];
    if (this.#has('resources') && random.chance(0.5)) {
      const kind = random.below(4);
      if (kind === 0) resources.push(['threads', 2]);
      else if (kind === 1) resources.push(['GPU', random.pick([0.25, 0.4, 0.5, 0.6, 1, 1.5])]);
      else if (kind === 2) resources.push(['GPU', 2]);
      else resources.push(['GPU', 1], ['threads', 2], ['MEM', 10]);
    }
    const restriction: string[] = [];
    if (this.#has('restrictions') && random.chance(0.4) && workers.length > 0) {
      const { name, host } = random.pick(workers);
      restriction.push(random.chance(0.7) ? name : host, RESCUER);
    }
    const retries = this.#has('retries') && random.chance(0.5) ? 1 + random.below(3) : 0;
    const isDelayed = retries > 0 && this.#has('retry-delays') && random.chance(0.7);
    return taskOptions({
      resources,
      workers: restriction,
      allowOtherWorkers: random.chance(0.4),
      retries,
      retryDelayMs: isDelayed ? random.pick([1, 50, 1_000]) : 0,
      retryOn: isDelayed && random.chance(0.4) ? [random.pick(['ERR_TASK', 'TypeError'])] : [],
      rerunOnLoss: !(this.#has('run-once') && random.chance(0.4)),
      priority: this.#has('priorities') && random.chance(0.5) ? random.below(7) - 3 : 0,
      timeoutMs: this.#has('task-timeout') && random.chance(0.3) ? random.pick([20, 300]) : null,
    });
  }

  /** What clients do with the futures they have. */
  #afterwards(): void {
    const random = this.#random;
    const submits = this.#ops.flatMap((op) =>
      op.action.kind === 'submit' ? [{ ...op, action: op.action }] : [],
    );
    const { untilMs } = this.#options;
    for (const { atMs, client, action } of submits) {
      const refs = action.tasks.map(({ ref }) => ref);
      const later = (): number => atMs + random.spread(0.05, untilMs);
      if (this.#has('release') && random.chance(0.35)) {
        const some = random.chance(0.5) ? refs : random.some(refs, 0.5);
        // Whoever submits with a released future is told; most seeds keep to the rules.
        const releasable = this.#has('foreign-futures')
          ? some
          : some.filter((ref) => !this.#isUsedLater(ref));
        let whenMs = later();
        if (!this.#has('foreign-futures')) whenMs = Math.max(whenMs, this.#lastUse(releasable));
        if (releasable.length > 0) this.#add(whenMs, client, { kind: 'release', refs: releasable });
      }
      if (this.#has('cancel') && random.chance(0.1)) {
        this.#add(later(), client, { kind: 'cancel', refs: random.some(refs, 0.6) });
      }
      if (this.#has('client-retry') && random.chance(0.3)) {
        this.#add(later(), client, { kind: 'retry', refs });
      }
      if (this.#has('copies') && random.chance(0.4)) {
        const copies = random.pick([null, 0, 1, 2, 3]);
        this.#add(later(), client, { kind: 'copy', refs, copies });
      }
      if (this.#has('gather') && random.chance(0.3)) {
        this.#add(later(), client, { kind: 'gather', refs });
      }
      if (this.#has('questions') && random.chance(0.2)) {
        const method = random.pick([
          'scheduler-info',
          'wait-for-workers',
          'explain',
          'story',
        ] as const);
        this.#add(later(), client, { kind: 'ask', method, ref: random.pick(refs) });
      }
      if (this.#has('flip-flop') && random.chance(0.3)) this.#flipFlop(later(), random.pick(refs));
      if (this.#has('shared-keys') && this.#options.clients > 1 && random.chance(0.3)) {
        const closure = this.#closure(random.pick(refs));
        if (closure !== null) {
          const other = (client + 1) % this.#options.clients;
          this.#add(later(), other, { kind: 'share', refs: closure });
        }
      }
    }
  }

  /** What clients share besides tasks. */
  #share(): void {
    const random = this.#random;
    if (this.#has('leases')) this.#ops.push(...drawLeases(random, this.#options));
    if (this.#has('queues')) this.#ops.push(...drawQueues(random, this.#options));
    if (this.#has('retire')) this.#ops.push(...drawRetirements(random, this.#options));
  }

  /** A task is given up and wanted again, several times in a short while. */
  #flipFlop(startMs: number, ref: number): void {
    const random = this.#random;
    const refs = this.#closure(ref);
    if (refs === null) return;
    const client = random.below(this.#options.clients);
    const pauseMs = random.spread(0.1, 200);
    let atMs = startMs;
    for (let times = 1 + random.below(5); times > 0; times--) {
      this.#add(atMs, client, { kind: 'share', refs });
      atMs += pauseMs * random.between(0.2, 2);
      const givenUp = random.chance(0.5) ? refs : [ref];
      this.#add(atMs, client, { kind: random.chance(0.7) ? 'release' : 'cancel', refs: givenUp });
      if (random.chance(0.5)) atMs += pauseMs * random.between(0, 2);
    }
    this.#add(atMs, client, { kind: 'share', refs });
  }

  #add(atMs: number, client: number, action: ClientAction): void {
    this.#ops.push({ atMs, client, action });
  }

  #isUsedLater(ref: number): boolean {
    return this.#uses.get(ref) === Infinity;
  }

  /** When a future is named last; computed once all submits are drawn. */
  get #uses(): ReadonlyMap<number, number> {
    this.#usesMade ??= this.#findUses();
    return this.#usesMade;
  }

  #usesMade: ReadonlyMap<number, number> | null = null;

  #findUses(): ReadonlyMap<number, number> {
    const uses = new Map<number, number>();
    for (const { atMs, action } of this.#ops) {
      if (action.kind !== 'submit') continue;
      for (const { deps } of action.tasks) {
        for (const ref of deps) uses.set(ref, Math.max(uses.get(ref) ?? 0, atMs));
      }
    }
    return uses;
  }

  #lastUse(refs: readonly number[]): number {
    return Math.max(0, ...refs.map((ref) => this.#uses.get(ref) ?? 0)) + 0.001;
  }

  /** A task with all it depends on, dependencies first; null where that is much, or handed over. */
  #closure(ref: number): number[] | null {
    const found = new Set<number>();
    const visit = (at: number): boolean => {
      if (found.has(at)) return true;
      const task = this.#byRef.get(at)?.task;
      // What was handed over is nobody else's to submit.
      if (task === undefined || task.behaviour.kind === 'scattered') return false;
      for (const dep of task.deps) if (!visit(dep)) return false;
      found.add(at);
      return found.size <= 6;
    };
    return visit(ref) ? [...found] : null;
  }
}
