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
  RunUsage,
  Speculation,
  TaskOptions,
  TaskStateName,
  WorkerHello,
  WorkerMetrics,
} from '@farm/protocol/core';

import { BitSet } from './collections/bit-set.ts';
import type { KeptBytes } from './collections/byte-chunks.ts';
import { FewFirst } from './collections/few-first.ts';
import { FewNumbers } from './collections/few-numbers.ts';
import type { OneOrMany } from './collections/one-or-many.ts';
import type { RangeTable } from './collections/range-table.ts';
import { CoolDown } from './cool-down.ts';
import type { Death } from './deaths.ts';
import type { Prefix } from './durations.ts';
import type { Homes } from './homes.ts';
import { nameAt, type Naming } from './naming.ts';
import type { ClientBatch } from './outbox.ts';
import type { Lane, ReadyQueue } from './ready-queue.ts';
import type { DeviceGrant, ResourceNeed, ResourcePool } from './resources.ts';
import type { Span } from './spans.ts';
import type { ValueArena } from './values.ts';
import { PluginDuties } from './worker-plugins.ts';

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
  /** The workers that were told of it, by their numbers. */
  readonly told: BitSet = new BitSet();

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
  /** Slots of those. */
  slots: number;
  /** Those of `fits` that a loose restriction names. */
  readonly preferred: Set<WorkerState>;
  readonly queue: ReadyQueue;
  /** Tasks in state queued or no-worker. */
  ready: number;
  /** Blocks, and tasks that ask for more than their block does, that name it. */
  users: number;
  /** Tasks were added since placement last looked at every worker. */
  isFresh: boolean;
  /** Since when the head of the queue has found no worker; null while it finds one. */
  blockedSinceMs: number | null;
  /** It was told that tasks which wait for others keep its tasks from starting. */
  isHeldUpTold: boolean;
  /** The worker kept clear for it. */
  reserved: WorkerState | null;
  /** When that was chosen. */
  reservedAtMs: number;
}

/**
 * A place in a queue: one task, or all tasks of a block from its cursor on. What it is compared by is
 * copied, so that a look at a long queue is not a look at the blocks of all that wait in it.
 */
export class QueueEntry {
  readonly block: Block;
  readonly task: TaskState | null;
  /**
   * By which a task knows which of its entries counts, a number of its own; 0 for a block's. The task
   * does not refer to the entry, for why see `Outbox`.
   */
  readonly ticket: number;
  readonly priority: number;
  readonly generation: number;
  readonly nesting: number;
  /** Number of the root it ranks with, see `order.ts`. */
  readonly rank: number;
  /** Of those with the same rank, the deeper one comes first. */
  readonly depth: number;
  /** Of those, the one with the lower number; twice that, and of a block one more than of all its tasks. */
  readonly place: number;

  constructor(
    block: Block,
    task: TaskState | null,
    ticket: number,
    { rank, depth }: { readonly rank: number; readonly depth: number },
  ) {
    this.block = block;
    this.task = task;
    this.ticket = ticket;
    this.priority = block.priority;
    this.generation = block.generation;
    this.nesting = block.nesting;
    this.rank = rank;
    this.depth = depth;
    this.place = task === null ? 2 * (block.first + block.count - 1) + 1 : 2 * task.number;
  }
}

/** The tasks of one submit message. */
export class Block {
  // What each end of a run needs comes first, and so lies together in memory.
  /** Number of the first task; the others follow. */
  readonly first: number;
  readonly count: number;
  /** Of a block of one; of others those of each task. Use {@link flagsOf} and {@link setFlags}. */
  flag: number = WANTED;
  readonly flags: Uint8Array | null;
  /** Who submitted it; null once it has left. */
  owner: ClientState | null;
  /** The owner's id of the first task. */
  readonly ownerFirst: number;
  readonly fn: FunctionState;
  /** Where its tasks are counted; null where the user gave no names. */
  readonly span: Span | null;
  readonly naming: Naming;
  values: ValueArena | null = null;
  readonly requirement: Requirement;
  /**
   * Tasks that have needed a record of their own so far: that of a block of one, and those of others.
   * Use {@link recordAt}, {@link setRecord} and {@link recordsOf}.
   */
  task: TaskState | undefined = undefined;
  readonly tasks: (TaskState | undefined)[] | null;
  /** Tasks that are not forgotten. */
  alive: number;
  /** Of a block of one perhaps shared with others. Use {@link argStart} and {@link argEnd}. */
  readonly args: Uint8Array;
  readonly argsStart: number;
  readonly argsEnd: number;
  /** Null for a block of one. */
  readonly argEnds: Uint8Array | null;
  /** The tasks from here on have not been placed by the block's queue entry. */
  cursor: number;
  /** Tasks that are queued and have no record of their own. */
  unmade = 0;
  /** Which part of it each worker takes; null where that does not matter. */
  homes: Homes | null = null;
  readonly priority: number;
  /** Burst of submits it belongs to: earlier ones are placed first, see `order.ts`. */
  generation: number;
  /** Tasks it was submitted from: 1 where a task did, 2 where one did that a task submitted, … */
  readonly nesting: number;
  /** Whose share of the workers it counts to. */
  readonly lane: Lane;
  readonly rerunOnLoss: boolean;
  /** Its tasks are values that a client handed over: they have no lineage. */
  readonly isScattered: boolean;
  readonly timeoutMs: number | null;
  /** When a second run is begun beside a slow one; null for never. */
  readonly speculate: Speculation | null;
  /** Order of submission. */
  readonly order: number;
  /** Key of the task that submitted it; null where none did. */
  readonly parent: string | null;
  readonly retries: number;
  readonly retryDelayMs: number;
  readonly retryOn: readonly string[];
  /** By what the memory of a task grows that took all of it; null for not at all. */
  readonly growMemory: number | null;

  constructor(fields: {
    readonly first: number;
    readonly order: number;
    readonly generation?: number;
    readonly nesting?: number;
    readonly parent?: string | null;
    readonly naming: Naming;
    readonly fn: FunctionState;
    readonly options: Omit<TaskOptions, 'resources' | 'workers' | 'allowOtherWorkers' | 'spans'>;
    readonly isScattered?: boolean;
    readonly span?: Span | null;
    readonly requirement: Requirement;
    readonly args: KeptBytes;
    readonly argEnds: Uint8Array | null;
    readonly owner: ClientState;
    readonly ownerFirst: number;
  }) {
    const { count } = fields.naming;
    this.first = fields.first;
    this.count = count;
    this.order = fields.order;
    this.generation = fields.generation ?? 0;
    this.nesting = fields.nesting ?? 0;
    this.parent = fields.parent ?? null;
    this.lane = fields.owner.lane;
    this.naming = fields.naming;
    this.fn = fields.fn;
    this.retries = fields.options.retries;
    this.priority = fields.options.priority;
    this.timeoutMs = fields.options.timeoutMs;
    this.retryDelayMs = fields.options.retryDelayMs;
    this.retryOn = fields.options.retryOn;
    this.growMemory = fields.options.growMemory;
    this.rerunOnLoss = fields.options.rerunOnLoss;
    // What must not run twice does not run twice at once.
    this.speculate = this.rerunOnLoss ? fields.options.speculate : null;
    this.isScattered = fields.isScattered ?? false;
    this.span = fields.span ?? null;
    this.requirement = fields.requirement;
    this.args = fields.args.bytes;
    this.argsStart = fields.args.start;
    this.argsEnd = fields.args.end;
    this.argEnds = fields.argEnds;
    this.flags = count === 1 ? null : new Uint8Array(count).fill(WANTED);
    this.owner = fields.owner;
    this.ownerFirst = fields.ownerFirst;
    this.tasks = count === 1 ? null : new Array<TaskState | undefined>(count);
    this.alive = count;
    this.cursor = count;
  }
}

/** {@link WANTED} and {@link GONE} of a task of the block. */
export function flagsOf(block: Block, index: number): number {
  return block.flags === null ? block.flag : (block.flags[index] ?? GONE);
}

/** Sets them. */
export function setFlags(block: Block, index: number, flags: number): void {
  if (block.flags === null) block.flag = flags;
  else block.flags[index] = flags;
}

/** The record of a block's task; undefined where it has none. */
export function recordAt({ task, tasks }: Block, index: number): TaskState | undefined {
  if (tasks !== null) return tasks[index];
  return index === 0 ? task : undefined;
}

/** Gives a block's task a record, or takes it away. */
export function setRecord(block: Block, index: number, task: TaskState | undefined): void {
  if (block.tasks === null) block.task = task;
  else block.tasks[index] = task;
}

/** The records of all tasks of a block, by index; undefined, or nothing at all, where there is none. */
export function recordsOf({ task, tasks }: Block): readonly (TaskState | undefined)[] {
  return tasks ?? [task];
}

/** Where in `block.args` the arguments of task `index` begin. */
export function argStart({ argsStart, argEnds }: Block, index: number): number {
  return index === 0 || argEnds === null ? argsStart : u32At(argEnds, index - 1);
}

/** Where they end. */
export function argEnd({ argsEnd, argEnds }: Block, index: number): number {
  return argEnds === null ? argsEnd : u32At(argEnds, index);
}

/** What a run of the task needs: what its block says, unless it has taken more. */
export function requirementOf({ block, trouble }: TaskState): Requirement {
  return trouble?.requirement ?? block.requirement;
}

/** A want besides that of the block's owner. */
export interface Want {
  /** Null for shared values that the task is in: they are told nothing. */
  readonly client: ClientState | null;
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
  /** What it asks for where that is more than its block does, see `memory-growth.ts`; else null. */
  requirement: Requirement | null = null;
  inputMisses = 0;
  /** Deaths of workers while it may have been executing. */
  readonly deaths: Death[] = [];
  /** It stays waiting until then; null where nothing holds it back. */
  delayedUntilMs: number | null = null;
  /** It saw too many deaths: it errs when its delay is over. */
  isCondemned = false;
  /** Where its last run failed: another worker is preferred. */
  avoided: WorkerState | null = null;
  /** Its second run, beside `TaskState.assignment` and on another worker; null for none. */
  copy: Assignment | null = null;
  /** Second runs begun so far. */
  copies = 0;
}

/** One run of a task on a worker, from assignment until the worker says it is over. */
export interface Assignment {
  readonly run: number;
  readonly worker: WorkerState;
  readonly requirement: Requirement;
  /** What it adds to the worker's occupancy; more once it takes longer than that. */
  expectedUs: number;
  /** What is sent ahead should not count on its slots soon being free. */
  readonly isLong: boolean;
  readonly taskNumber: number;
  /** Null once the run was given up: its report will be stale. */
  task: TaskState | null;
  /** It waits for other tasks, and takes no slot any more. */
  isSeceded: boolean;
  /** The worker said so in a heartbeat. */
  isExecuting: boolean;
  /** When the worker first said so; null while it has not. */
  executingSinceMs: number | null;
  /** Where it is to go instead, while its worker is asked for it; see `stealing.ts`. */
  move: Move | null;
  /** Until then it is not asked for (again). */
  staysUntilMs: number;
  /** What it took, where its worker measured that. */
  usage: Pick<RunUsage, 'peakBytes' | 'cpuUs'> | null;
  /** A given up run of the task left its result on this worker. */
  hasStaleCopy: boolean;
  /** Which devices of the worker it has, from assignment to its end. */
  readonly devices: DeviceGrant;
}

/** An unstarted run on its way from a loaded worker to an idle one. */
export interface Move {
  readonly thief: WorkerState;
  /** What leaves the one's occupancy and adds to the other's. */
  readonly expectedUs: number;
}

const NO_TASKS: readonly TaskState[] = [];

/** One task. Kept small: there may be millions. */
export class TaskState {
  readonly block: Block;
  readonly index: number;
  state: TaskStateName;
  /** Dependencies that are not in memory; kept while waiting. */
  waitingOn = 0;
  /** Number of the first root it descends from; of a root its own. */
  rank: number;
  /** Dependencies between it and the root farthest up; 0 for a root. */
  depth = 0;
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
  /** That of its own place in a queue; 0 where it has none, or is queued by the block's entry. */
  ticket = 0;
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
    this.rank = block.first + index;
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

/** A connection is lost: until when it may come back, by `Tables.awakeMs`. */
export interface Away {
  readonly endMs: number;
  readonly reason: string;
}

/** A connected worker. Its own entries are its {@link runs}. */
export class WorkerState extends FewFirst<Assignment> {
  // What each run needs comes first, and so lies together in memory: there may be thousands.
  readonly nthreads: number;
  /** Slots assigned; above `nthreads` where runs were sent ahead. */
  threadsUsed = 0;
  /** Those of them that long runs take, or runs of unknown duration. */
  threadsLong = 0;
  /** Expected work assigned. */
  occupancyUs = 0;
  /** It has more runs than slots. */
  isLoaded = false;
  /** It is among `Tables.accepting`. */
  isAccepting = false;
  /** It is among `Tables.dirty`. */
  isDirty = false;
  /** Its place in the line of `Tables.idle`; -1 where it is not in it. */
  idleAt = -1;
  /** The idle workers of its host, where there are several; see `idle-workers.ts`. */
  idleOnHost: Set<WorkerState> | null = null;
  /** Number of the last placement pass that gave it something, or looked whether it may. */
  pass = 0;
  /** The last pass that gave it a share of the plain tasks, and at how many runs it has that. */
  sharePass = 0;
  shareEnd = 0;
  /** Its own among all that are connected; those of workers that are gone are given again. */
  readonly number: number;
  /** Numbers of the tasks whose results it has; see `heldBy` in `replicas.ts`. */
  readonly holds: FewNumbers = new FewNumbers();
  /** Place of what is to be said to it, see `outbox.ts`; -1 for nothing. */
  lineAt = -1;
  heardMs: number;
  /** The session's name, chosen by the shell. */
  readonly session: string;
  readonly hello: WorkerHello;
  readonly name: string;
  readonly pool: ResourcePool;
  /** Runs that take resources or several slots. */
  specialRuns = 0;
  /** Those of them that its last heartbeat did not name, and since when; null where all began. */
  stalled: Map<number, number> | null = null;
  /** When it last said what it executes, while it had such runs. */
  beatMs = 0;
  /** Expected work that is being taken away from it. */
  outgoingUs = 0;
  /** Expected work, and number of runs, that are being taken from others for it. */
  incomingUs = 0;
  incomingRuns = 0;
  /** Bytes of the results it holds, and of those it was told to fetch or keep. */
  heldBytes = 0;
  incomingBytes = 0;
  /** It gets no new runs: it leaves. */
  isLeaving = false;
  /** It leaves since a client asked for it, see `retire.ts`. */
  isRetiring = false;
  /** It leaves since it said so, and will not stay whatever happens. */
  hasSaidLeaving = false;
  /** It gets no new runs while it has lost its connection, see `away.ts`. */
  away: Away | null = null;
  /** It gets no new runs while it is short of memory, see `pausing.ts`. */
  isPaused = false;
  /** When that began, or a restart for it was last tried. */
  pausedSinceMs = 0;
  /** It gets no new runs while it lacks a plugin, see `worker-plugins.ts`. */
  readonly plugins: PluginDuties = new PluginDuties();
  metrics: WorkerMetrics | null = null;

  constructor(
    number: number,
    session: string,
    hello: WorkerHello,
    pool: ResourcePool,
    nowMs: number,
  ) {
    super();
    this.number = number;
    this.session = session;
    this.hello = hello;
    this.name = hello.name;
    this.nthreads = hello.nthreads;
    this.pool = pool;
    this.heardMs = nowMs;
  }

  /** Runs that are not over, given up ones too, in order of assignment. */
  get runs(): FewFirst<Assignment> {
    return this;
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
  /** It has lost its connection, see `away.ts`. */
  away: Away | null = null;
  /** What is to be said to it, see `outbox.ts`; null for nothing. */
  outgoing: ClientBatch[] | null = null;
  /** Its share of the workers. */
  readonly lane: Lane;
  /** Its last generation, and when it submitted last; null before it has. */
  burst: { readonly number: number; readonly lastMs: number } | null = null;
  /** Adaptive targets it was told. */
  readonly targets: CoolDown = new CoolDown();

  constructor(session: string, hello: ClientHello, futures: RangeTable<Submission>, lane: Lane) {
    this.session = session;
    this.hello = hello;
    this.futures = futures;
    this.lane = lane;
  }
}
