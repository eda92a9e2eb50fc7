/**
 * A scheduler core under load: workers and a client on a virtual clock. Whatever is due within one
 * millisecond arrives as one batch.
 */
import { defineFunction, finished, holding, release, stopped } from '@farm/protocol/core';
import type { ClientMessage, Run, WorkerBoundMessage, WorkerMessage } from '@farm/protocol/core';
import { SchedulerCore } from '@farm/scheduler/core';
import type { SchedulerEvent } from '@farm/scheduler/core';

import { mix } from '../../sim/prng.ts';
import { RandomGraphs, WORKS } from './random-graphs.ts';
import type { Work } from './random-graphs.ts';

/** Slots of a worker. */
export const SLOTS = 4;
/** Tasks that the client submits within one virtual millisecond, at least. */
const SUBMITTED_PER_MS = 100;
/** Results up to this size travel in messages. */
const INLINE_BYTES_MAX = 4_096;
/** Virtual milliseconds that the calendar of ends reaches ahead; no task takes as long. */
const CALENDAR_MS = 16_384;
const CLIENT = 'client';

/** A run that a worker was told of. */
interface ToldRun {
  readonly worker: VirtualWorker;
  readonly run: number;
  readonly task: number;
  readonly work: Work;
}

interface VirtualWorker {
  readonly session: string;
  free: number;
  /** Not started yet. */
  readonly waiting: ToldRun[];
  readonly store: Set<number>;
  readonly functions: Map<number, Work>;
  /** Reports of this millisecond. */
  ended: ToldRun[];
  fetched: number[];
  given: { readonly runs: number[]; readonly kept: number[] } | null;
}

/** What running some tasks took. */
export interface Wave {
  readonly tasks: number;
  /** Busy slots, of those that could have been: slots, or less where less was ready. */
  readonly utilisation: number;
  readonly virtualMs: number;
  readonly handles: number;
  readonly moved: number;
}

/** Is told what the core is told, and how much it answered. */
export interface Listener {
  handled(events: readonly SchedulerEvent[], instructions: number): void;
  /** All tasks of a wave are submitted. */
  submitted(): void;
}

/** See above. Throws where a task ran twice or never, or where something is left at the end. */
export class VirtualCluster {
  readonly #core = new SchedulerCore({ id: 'scale', address: 'virtual', startedMs: 0 });
  readonly #workers = new Map<string, VirtualWorker>();
  readonly #slots: number;
  readonly #seed: number;
  readonly #graphs: RandomGraphs;
  readonly #calendar: ToldRun[][] = Array.from({ length: CALENDAR_MS }, () => []);
  /** Workers with something to report in this millisecond. */
  readonly #reporting = new Set<VirtualWorker>();
  #events: SchedulerEvent[] = [];
  #nowMs = 1;
  #busy = 0;
  #ended = 0;
  #handles = 0;
  /** Slots that are busy until the next step, and tasks that could use more. */
  #lastBusy = 0;
  #lastReady = 0;
  /** Scheduler's numbers of tasks that ended. */
  #seen = new Uint8Array(1_024);
  /** Client's ids that wait for a result. */
  readonly #wanted = new Set<number>();
  readonly #listener: Listener;

  constructor(workers: number, seed: number, listener: Listener) {
    this.#listener = listener;
    this.#slots = workers * SLOTS;
    this.#seed = seed;
    this.#graphs = new RandomGraphs(seed);
    const hello = { role: 'client', protocol: 1, version: '', incarnation: CLIENT } as const;
    this.#events.push({
      kind: 'client-connected',
      nowMs: this.#nowMs,
      client: CLIENT,
      hello: { op: 'hello', ...hello, name: CLIENT },
    });
    for (const { name } of WORKS) this.#say(defineFunction(name, name, new Uint8Array(100)));
    for (let index = 0; index < workers; index++) this.#join(`worker-${index}`);
    this.#handle();
  }

  /** Every worker learns every function, the core every duration, and the compiler its work. */
  warmUp(tasksMin: number): void {
    const count = Math.max(this.#slots, Math.ceil(tasksMin / WORKS.length / 2));
    const graph = this.#graphs.eachFunction(count);
    for (const message of graph.messages) this.#say(message);
    for (const id of graph.outputs) this.#wanted.add(id);
    this.#handle();
    while (this.#wanted.size > 0) this.#step();
    this.run(Math.ceil(tasksMin / 2));
  }

  /** Submits graphs of that many tasks, runs and releases them. */
  run(tasks: number): Wave {
    const first = this.#graphs.tasks;
    const end = first + tasks;
    const before = { ended: this.#ended, handles: this.#handles, moved: this.#moved() };
    const startMs = this.#nowMs;
    let busyMs = 0;
    let usableMs = 0;
    while (this.#graphs.tasks < end || this.#wanted.size > 0) {
      const isSubmitting = this.#graphs.tasks < end;
      if (isSubmitting) this.#submit(end);
      const fromMs = this.#nowMs;
      this.#step();
      const passedMs = this.#nowMs - fromMs;
      busyMs += this.#lastBusy * passedMs;
      usableMs += Math.min(this.#slots, this.#lastBusy + this.#lastReady) * passedMs;
      if (isSubmitting && this.#graphs.tasks >= end) this.#listener.submitted();
    }
    this.#drain();
    const ended = this.#ended - before.ended;
    if (ended !== tasks) throw new Error(`${ended} tasks ended of ${tasks}`);
    return {
      tasks,
      utilisation: busyMs / usableMs,
      virtualMs: this.#nowMs - startMs,
      handles: this.#handles - before.handles,
      moved: this.#moved() - before.moved,
    };
  }

  #submit(end: number): void {
    const from = this.#graphs.tasks;
    while (this.#graphs.tasks < end && this.#graphs.tasks < from + SUBMITTED_PER_MS) {
      const { messages, outputs } = this.#graphs.next(end - this.#graphs.tasks);
      for (const message of messages) this.#say(message);
      for (const id of outputs) this.#wanted.add(id);
    }
  }

  /** What has been said arrives; then time goes on to the next millisecond with an end in it. */
  #step(): void {
    if (this.#events.length > 0) this.#handle();
    this.#lastBusy = this.#busy;
    const { queued, processing } = this.#core.counts();
    this.#lastReady = queued + processing - this.#busy;
    if (this.#events.length > 0) {
      this.#nowMs += 1;
    } else {
      const limitMs = this.#nowMs + CALENDAR_MS;
      do this.#nowMs += 1;
      while (this.#endsNow().length === 0 && this.#nowMs < limitMs);
      if (this.#nowMs >= limitMs) throw new Error(`${this.#wanted.size} outputs do not come`);
    }
    this.#endRuns();
    this.#report();
  }

  /** Nobody wants anything: what is left is freed, and then nothing is left. */
  #drain(): void {
    this.#handle();
    this.#handle();
    const { blocks, values } = this.#core.statistics();
    const known = Object.values(this.#core.counts()).reduce((sum, count) => sum + count, 0);
    if (known + blocks + values > 0) throw new Error(`left: ${known} tasks, ${blocks} blocks`);
    for (const { session, store, waiting, free } of this.#workers.values()) {
      const isIdle = waiting.length === 0 && free === SLOTS && store.size === 0;
      if (!isIdle) throw new Error(`${session} is left with ${store.size} results`);
    }
  }

  #join(session: string): void {
    this.#workers.set(session, {
      session,
      free: SLOTS,
      waiting: [],
      store: new Set(),
      functions: new Map(),
      ended: [],
      fetched: [],
      given: null,
    });
    this.#events.push({
      kind: 'worker-connected',
      nowMs: this.#nowMs,
      worker: session,
      hello: {
        op: 'hello',
        role: 'worker',
        protocol: 1,
        version: '',
        incarnation: session,
        name: session,
        nthreads: SLOTS,
        resources: [],
        memoryLimitBytes: 2 ** 33,
        address: `tcp://${session}:1`,
        host: session,
        pid: 1,
        localDirectory: '',
        nanny: false,
      },
    });
  }

  #say(message: ClientMessage): void {
    this.#events.push({ kind: 'client-said', nowMs: this.#nowMs, client: CLIENT, message });
  }

  #handle(): void {
    const events = this.#events;
    this.#events = [];
    const instructions = this.#core.handle(events);
    this.#listener.handled(events, instructions.length);
    this.#handles += 1;
    for (const instruction of instructions) {
      if (instruction.do === 'to-worker') {
        const worker = this.#workers.get(instruction.worker);
        if (worker !== undefined) this.#hear(worker, instruction.message);
      } else if (instruction.do === 'to-client' && instruction.message.op === 'results') {
        for (const id of instruction.message.ids) {
          // An intermediate that was done before its release was heard.
          if (!this.#wanted.delete(id)) continue;
          this.#say(release([id, 1]));
        }
      } else if (instruction.do === 'to-client' && instruction.message.op === 'failed') {
        throw new Error(instruction.message.failure.message);
      }
    }
  }

  #hear(worker: VirtualWorker, message: WorkerBoundMessage): void {
    switch (message.op) {
      case 'define-worker-function': {
        const work = WORKS.find(({ name }) => name === message.name);
        if (work !== undefined) worker.functions.set(message.fn, work);
        break;
      }
      case 'run':
        this.#take(worker, message);
        break;
      case 'free':
        for (const task of message.tasks) worker.store.delete(task);
        break;
      case 'stop':
        this.#giveBack(worker, message.runs);
        break;
      default:
        break;
    }
  }

  #take(worker: VirtualWorker, { fn, tasks, runs, dependencies }: Run): void {
    const work = worker.functions.get(fn);
    if (work === undefined) throw new Error(`${worker.session} was not told of function ${fn}`);
    for (let at = 0; at < runs.length; at++) {
      for (const { task, value } of dependencies?.[at] ?? []) {
        if (value !== null || worker.store.has(task)) continue;
        worker.store.add(task);
        worker.fetched.push(task);
        this.#reporting.add(worker);
      }
      worker.waiting.push({ worker, run: runs[at] ?? 0, task: tasks[at] ?? 0, work });
    }
    this.#start(worker);
  }

  #start(worker: VirtualWorker): void {
    while (worker.free > 0) {
      const what = worker.waiting.shift();
      if (what === undefined) return;
      worker.free -= 1;
      this.#busy += 1;
      const part = mix(this.#seed, what.task) / 2 ** 32;
      const durationMs = Math.max(1, Math.round(what.work.meanMs * (0.5 + part)));
      this.#calendar[(this.#nowMs + durationMs) % CALENDAR_MS]?.push(what);
    }
  }

  /** A run that has not started is given up, any other goes on. */
  #giveBack(worker: VirtualWorker, runs: readonly number[]): void {
    const given = { runs: [] as number[], kept: [] as number[] };
    for (const run of runs) {
      const at = worker.waiting.findIndex((waiting) => waiting.run === run);
      if (at < 0) given.kept.push(run);
      else given.runs.push(run);
      if (at >= 0) worker.waiting.splice(at, 1);
    }
    worker.given = given;
    this.#reporting.add(worker);
  }

  #endsNow(): ToldRun[] {
    return this.#calendar[this.#nowMs % CALENDAR_MS] ?? [];
  }

  #endRuns(): void {
    const ends = this.#endsNow();
    if (ends.length === 0) return;
    this.#calendar[this.#nowMs % CALENDAR_MS] = [];
    for (const what of ends) {
      const { worker } = what;
      worker.free += 1;
      this.#busy -= 1;
      worker.ended.push(what);
      this.#reporting.add(worker);
      this.#note(what.task);
    }
    for (const { worker } of ends) this.#start(worker);
  }

  #report(): void {
    for (const worker of this.#reporting) {
      const { ended, fetched, given } = worker;
      if (given !== null) this.#hearFrom(worker, stopped(given.runs, given.kept));
      if (fetched.length > 0) this.#hearFrom(worker, holding(fetched));
      if (ended.length > 0) this.#hearFrom(worker, report(ended));
      for (const { task, work } of ended) if (work.size > 0) worker.store.add(task);
      worker.given = null;
      worker.fetched = [];
      worker.ended = [];
    }
    this.#reporting.clear();
  }

  #hearFrom({ session }: VirtualWorker, message: WorkerMessage): void {
    this.#events.push({ kind: 'worker-said', nowMs: this.#nowMs, worker: session, message });
  }

  #note(task: number): void {
    if (task >= this.#seen.length) {
      const grown = new Uint8Array(task * 2);
      grown.set(this.#seen);
      this.#seen = grown;
    }
    if (this.#seen[task] === 1) throw new Error(`task ${task} ran twice`);
    this.#seen[task] = 1;
    this.#ended += 1;
  }

  #moved(): number {
    return this.#core.statistics().runsMoved;
  }
}

function report(ended: readonly ToldRun[]): WorkerMessage {
  let end = 0;
  const ends = ended.map(({ work }) => (end += work.size > INLINE_BYTES_MAX ? 0 : work.size));
  return finished({
    runs: ended.map(({ run }) => run),
    sizes: ended.map(({ work }) => work.size),
    values: new Uint8Array(end),
    ends,
    durationsUs: ended.map(({ work }) => work.meanMs * 1_000),
  });
}
