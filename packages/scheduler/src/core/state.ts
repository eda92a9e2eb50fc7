/**
 * The records the scheduler keeps, without behaviour. Who may change what is in `transitions.ts`
 * (tasks), `placement.ts` and `assignments.ts` (workers), `submission.ts` and `release.ts`
 * (clients).
 */
import { u32At } from '@farm/protocol/core';
import type {
  ClientHello,
  Failure,
  ResourceAmounts,
  TaskOptions,
  TaskStateName,
  WorkerHello,
  WorkerMetrics,
} from '@farm/protocol/core';

import type { Heap } from './collections/heap.ts';
import type { OneOrMany } from './collections/one-or-many.ts';
import type { RangeTable } from './collections/range-table.ts';
import type { Prefix } from './durations.ts';
import { nameAt, type Naming } from './naming.ts';
import type { ResourceNeed, ResourcePool } from './resources.ts';
import type { ValueArena } from './values.ts';

/** Flag of a block's task: the submitting client wants it. */
export const WANTED = 1;
/** Flag of a block's task: it is forgotten. */
export const GONE = 2;

/** A function some client defined. */
export class FunctionState {
  readonly number: number;
  readonly hash: string;
  readonly name: string;
  readonly spec: Uint8Array;
  readonly prefix: Prefix;
  /** Clients that defined it and are still there. */
  readonly definers: Set<ClientState> = new Set();
  /** Blocks that run it. With no definer and no block it is forgotten. */
  blocks = 0;

  constructor(number: number, hash: string, name: string, spec: Uint8Array, prefix: Prefix) {
    this.number = number;
    this.hash = hash;
    this.name = name;
    this.spec = spec;
    this.prefix = prefix;
  }
}

/** What a set of tasks needs of a worker, and the queue of those that are ready. Interned. */
export interface Requirement {
  readonly id: string;
  /** Slots, at least 1. */
  readonly threads: number;
  readonly needs: readonly ResourceNeed[];
  /** `needs` as workers are told. */
  readonly granted: ResourceAmounts;
  /** Worker names, addresses or hosts; empty means any. */
  readonly workers: readonly string[];
  /** Whether `workers` is a preference only. */
  readonly isLoose: boolean;
  /** One thread and nothing else: may be sent ahead of a free slot. */
  readonly isPlain: boolean;
  /** Workers that could run it when empty. */
  readonly fits: Set<WorkerState>;
  /** Those of `fits` that a loose restriction names. */
  readonly preferred: Set<WorkerState>;
  readonly queue: Heap<QueueEntry>;
  /** Tasks in state queued or no-worker. */
  ready: number;
  /** Blocks that name it. */
  blocks: number;
  /** Tasks were added since placement last looked at every worker. */
  isFresh: boolean;
  /** Since when the head of the queue has found no worker; null while it finds one. */
  blockedSinceMs: number | null;
  /** The worker kept clear for it. */
  reserved: WorkerState | null;
}

/** A place in a queue: one task, or all tasks of a block from its cursor on. */
export class QueueEntry {
  readonly block: Block;
  readonly task: TaskState | null;

  constructor(block: Block, task: TaskState | null) {
    this.block = block;
    this.task = task;
  }
}

/** The tasks of one submit message. */
export class Block {
  /** Number of the first task; the others follow. */
  readonly first: number;
  readonly count: number;
  /** Order of submission. */
  readonly order: number;
  readonly naming: Naming;
  readonly fn: FunctionState;
  readonly requirement: Requirement;
  readonly retries: number;
  readonly priority: number;
  readonly timeoutMs: number | null;
  readonly args: Uint8Array;
  /** Null for a block of one. Use {@link argStart} and {@link argEnd}. */
  readonly argEnds: Uint8Array | null;
  /** {@link WANTED} and {@link GONE} of each task. */
  readonly flags: Uint8Array;
  /** Who submitted it; null once it has left. */
  owner: ClientState | null;
  /** The owner's id of the first task. */
  readonly ownerFirst: number;
  /** Tasks that have needed a record of their own so far. */
  readonly tasks: (TaskState | undefined)[];
  /** Tasks that are not forgotten. */
  alive: number;
  /** The tasks from here on have not been placed by the block's queue entry. */
  cursor: number;
  /** Tasks that are queued and have no record of their own. */
  unmade = 0;
  values: ValueArena | null = null;

  constructor(fields: {
    readonly first: number;
    readonly order: number;
    readonly naming: Naming;
    readonly fn: FunctionState;
    readonly options: Pick<TaskOptions, 'retries' | 'priority' | 'timeoutMs'>;
    readonly requirement: Requirement;
    readonly args: Uint8Array;
    readonly argEnds: Uint8Array | null;
    readonly owner: ClientState;
    readonly ownerFirst: number;
  }) {
    const { count } = fields.naming;
    this.first = fields.first;
    this.count = count;
    this.order = fields.order;
    this.naming = fields.naming;
    this.fn = fields.fn;
    this.retries = fields.options.retries;
    this.priority = fields.options.priority;
    this.timeoutMs = fields.options.timeoutMs;
    this.requirement = fields.requirement;
    this.args = fields.args;
    this.argEnds = fields.argEnds;
    this.flags = new Uint8Array(count).fill(WANTED);
    this.owner = fields.owner;
    this.ownerFirst = fields.ownerFirst;
    this.tasks = new Array<TaskState | undefined>(count);
    this.alive = count;
    this.cursor = count;
  }
}

/** Where the arguments of task `index` begin. */
export function argStart(block: Block, index: number): number {
  return index === 0 || block.argEnds === null ? 0 : u32At(block.argEnds, index - 1);
}

/** Where they end. */
export function argEnd(block: Block, index: number): number {
  return block.argEnds === null ? block.args.byteLength : u32At(block.argEnds, index);
}

/** A want besides that of the block's owner. */
export interface Want {
  readonly client: ClientState;
  readonly id: number;
}

/** What only tasks with a history need: most tasks run once and end well. */
export class Trouble {
  /** Why it erred; while waiting: why it is about to. */
  failure: Failure | null = null;
  /** Why it was refused when it was submitted: it can never run, whoever asks for a retry. */
  refusal: Failure | null = null;
  /** Runs begun so far. */
  attempts = 1;
  retriesUsed = 0;
  inputMisses = 0;
  /** Workers that died while it may have been executing, with the reason. */
  readonly deaths: string[] = [];
}

/** One run of a task on a worker, from assignment until the worker says it is over. */
export interface Assignment {
  readonly run: number;
  readonly worker: WorkerState;
  readonly requirement: Requirement;
  /** What it adds to the worker's occupancy. */
  readonly expectedUs: number;
  /** What is sent ahead should not count on its slots soon being free. */
  readonly isLong: boolean;
  readonly taskNumber: number;
  /** Null once the run was given up: its report will be stale. */
  task: TaskState | null;
  /** The worker said so in a heartbeat. */
  isExecuting: boolean;
  /** A given up run of the task left its result on this worker. */
  hasStaleCopy: boolean;
}

const NO_TASKS: readonly TaskState[] = [];

/** One task. Kept small: there may be millions. */
export class TaskState {
  readonly block: Block;
  readonly index: number;
  state: TaskStateName;
  /** Dependencies that are not in memory; kept while waiting. */
  waitingOn = 0;
  /** Dependents that are waiting, ready or processing. */
  needers = 0;
  /** Each once. */
  dependencies: readonly TaskState[] = NO_TASKS;
  /** In the order of references, with repetitions; null where that is `dependencies`. */
  inputs: readonly TaskState[] | null = null;
  /** Tasks that name this one, in whatever state. */
  dependents: OneOrMany<TaskState> = null;
  holders: OneOrMany<WorkerState> = null;
  assignment: Assignment | null = null;
  /** Own place in a queue; null while queued by the block's entry. */
  entry: QueueEntry | null = null;
  /** Where its value is in the block's arena; -1 where it is not kept. */
  valueAt = -1;
  /** Bytes of the result. */
  size = 0;
  durationUs = 0;
  /** Name of the worker that made the result. */
  ranOn = '';
  wants: Want[] | null = null;
  trouble: Trouble | null = null;

  constructor(block: Block, index: number, state: TaskStateName) {
    this.block = block;
    this.index = index;
    this.state = state;
  }

  /** What client, worker and logs call it. */
  get key(): string {
    return nameAt(this.block.naming, this.index);
  }

  /** The scheduler's number of it. */
  get number(): number {
    return this.block.first + this.index;
  }
}

/** A connected worker. */
export class WorkerState {
  /** The session's name, chosen by the shell. */
  readonly session: string;
  readonly hello: WorkerHello;
  readonly name: string;
  readonly nthreads: number;
  readonly pool: ResourcePool;
  /** Runs that are not over, given up ones too, in order of assignment. */
  readonly runs: Map<number, Assignment> = new Map();
  readonly holds: Set<TaskState> = new Set();
  /** Numbers of functions it was told. */
  readonly functions: Set<number> = new Set();
  /** Slots assigned; above `nthreads` where runs were sent ahead. */
  threadsUsed = 0;
  /** Those of them that long runs take, or runs of unknown duration. */
  threadsLong = 0;
  /** Expected work assigned. */
  occupancyUs = 0;
  /** It gets no new runs: it leaves. */
  isLeaving = false;
  metrics: WorkerMetrics | null = null;
  heardMs: number;

  constructor(session: string, hello: WorkerHello, pool: ResourcePool, nowMs: number) {
    this.session = session;
    this.hello = hello;
    this.name = hello.name;
    this.nthreads = hello.nthreads;
    this.pool = pool;
    this.heardMs = nowMs;
  }
}

/** Consecutive futures of a client, and the tasks they stand for. */
export interface Submission {
  /** Client's id of the first. */
  readonly first: number;
  readonly count: number;
  readonly block: Block;
  /** Which task of the block the first future stands for. */
  readonly offset: number;
  /** Whether the wants are the block's flags; otherwise they are entries of `TaskState.wants`. */
  readonly isOwner: boolean;
  /** Futures not released. */
  alive: number;
}

/** A connected client. */
export class ClientState {
  readonly session: string;
  readonly hello: ClientHello;
  readonly futures: RangeTable<Submission>;
  readonly functions: Set<FunctionState> = new Set();

  constructor(session: string, hello: ClientHello, futures: RangeTable<Submission>) {
    this.session = session;
    this.hello = hello;
    this.futures = futures;
  }
}
