import type { TaskStateName } from '@farm/protocol/core';

import { RangeTable } from './collections/range-table.ts';
import type { ResolvedConfig } from './config.ts';
import { Durations } from './durations.ts';
import { Outbox } from './outbox.ts';
import type {
  Block,
  ClientState,
  FunctionState,
  Requirement,
  TaskState,
  WorkerState,
} from './state.ts';
import { Story } from './story.ts';
import { ValueBudget } from './values.ts';

/** Number of tasks in each state. */
export type TaskCounts = Record<TaskStateName, number>;

/** A client that waits until enough workers are there. */
export interface WorkersAwaited {
  readonly client: ClientState;
  readonly request: number;
  readonly count: number;
}

/** Everything the scheduler knows, and what it is about to do. Holds no logic. */
export class Tables {
  readonly config: ResolvedConfig;
  /** Clock of the event being handled. */
  nowMs: number;
  /** What is being handled, for the story. */
  cause = 'start';

  readonly clients: Map<string, ClientState> = new Map();
  readonly workers: Map<string, WorkerState> = new Map();
  readonly workersByName: Map<string, WorkerState> = new Map();
  /** Those that get new runs, in order of arrival. */
  readonly accepting: Set<WorkerState> = new Set();
  /** Those of `accepting` with a free slot; whoever got a run last comes last. */
  readonly idle: Set<WorkerState> = new Set();
  /** Workers with room that placement has not looked at. */
  readonly dirty: Set<WorkerState> = new Set();
  /** Slots of the accepting workers. */
  slots = 0;

  /** By task numbers. */
  readonly blocks: RangeTable<Block> = new RangeTable();
  /** Blocks of one task, by its key. */
  readonly exactKeys: Map<string, Block> = new Map();
  /** Blocks with indexed keys, by what comes before the index. */
  readonly keyPrefixes: Map<string, Block[]> = new Map();
  readonly functions: Map<string, FunctionState> = new Map();
  readonly requirements: Map<string, Requirement> = new Map();
  readonly durations: Durations = new Durations();
  readonly values: ValueBudget;
  readonly counts: TaskCounts = {
    released: 0,
    waiting: 0,
    queued: 0,
    'no-worker': 0,
    processing: 0,
    memory: 0,
    erred: 0,
    forgotten: 0,
  };

  readonly outbox: Outbox = new Outbox();
  readonly story: Story;
  /** Tasks whose conditions changed: their next state is to be found. */
  readonly reviews: TaskState[] = [];
  needsPlacement = false;
  workersAwaited: WorkersAwaited[] = [];

  nextTask = 1;
  nextRun = 1;
  nextFunction = 1;
  nextBlock = 1;

  /** When there was work last. */
  busyMs: number;
  /** Why everything ends, and when at the latest; null while it does not. */
  closing: { readonly reason: string; readonly deadlineMs: number } | null = null;
  hasExited = false;
  /** The last `wake-at` asked for. */
  wakeAtMs: number | null = null;
  /** Reports about runs that were given up or are unknown. */
  staleReports = 0;

  constructor(config: ResolvedConfig) {
    this.config = config;
    this.nowMs = config.startedMs;
    this.busyMs = config.startedMs;
    this.values = new ValueBudget(config.inlineTotalBytesMax);
    this.story = new Story(config.storyEntriesMax);
  }
}
