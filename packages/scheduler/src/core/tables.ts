import { ByteChunks } from './collections/byte-chunks.ts';
import { DirtyWorkers } from './collections/dirty-workers.ts';
import { Heap } from './collections/heap.ts';
import { IdleWorkers } from './collections/idle-workers.ts';
import { RangeTable } from './collections/range-table.ts';
import { SessionMap } from './collections/session-map.ts';
import type { ResolvedConfig } from './config.ts';
import { Coordination } from './coordination/coordination.ts';
import type { Death } from './deaths.ts';
import type { Delay } from './delays.ts';
import { Durations } from './durations.ts';
import { noTasks } from './task-counts.ts';
import type { TaskCounts } from './task-counts.ts';
import { Outbox } from './outbox.ts';
import { PendingScatters } from './pending-scatters.ts';
import { Lane } from './ready-queue.ts';
import type {
  Assignment,
  Block,
  ClientState,
  FunctionState,
  Requirement,
  TaskState,
  WorkerState,
} from './state.ts';
import type { CopyBatch, Transfer } from './replication.ts';
import type { Retirement } from './retire.ts';
import { SpanTable } from './spans.ts';
import { Story } from './story.ts';
import { ValueBudget } from './values.ts';
import { WorkerPlugins } from './worker-plugins.ts';

/** A client that waits until enough workers are there. */
export interface WorkersAwaited {
  readonly client: ClientState;
  readonly request: number;
  readonly count: number;
}

/** Everything the scheduler knows, and what it is about to do. Holds no logic. */
export class Tables {
  readonly config: ResolvedConfig;
  /** Time of the event being handled: begins as its clock, and is never set back. */
  nowMs: number;
  /** What the clock of the event being handled shows. */
  clockMs: number;
  /** Clock of leases, see `away.ts`. */
  awakeMs = 0;
  /** What is being handled, for the story. */
  cause = 'start';

  readonly clients: Map<string, ClientState> = new Map();
  /** By their sessions, in order of arrival. */
  readonly workers: SessionMap<WorkerState> = new SessionMap();
  readonly workersByName: Map<string, WorkerState> = new Map();
  /** Those that have lost their connection. */
  readonly awayClients: Set<ClientState> = new Set();
  /** Those short of memory, see `pausing.ts`. */
  readonly pausedWorkers: Set<WorkerState> = new Set();
  readonly awayWorkers: Set<WorkerState> = new Set();
  /** Those that get new runs, in order of arrival. */
  readonly accepting: Set<WorkerState> = new Set();
  /** Those of `accepting` with a free slot; whoever got a run last comes last. */
  readonly idle: IdleWorkers = new IdleWorkers();
  /** Workers with room that placement has not looked at. */
  readonly dirty: DirtyWorkers = new DirtyWorkers();
  /** Those of `accepting` with more runs than slots. */
  readonly loaded: Set<WorkerState> = new Set();
  /** Those of `accepting` with runs that should have begun, see `stalled.ts`. */
  readonly stalled: Set<WorkerState> = new Set();
  /** Numbers below `nextWorker` that no worker has. */
  readonly freeWorkerNumbers: number[] = [];
  nextWorker = 0;
  /** Placement passes so far. */
  passes = 0;
  /** Slots of the accepting workers. */
  slots = 0;

  /** The lane of clients without a weight. */
  readonly sharedLane: Lane = new Lane(1);
  /** Whether some client asked for a share by weight. */
  hasWeights = false;
  /** What the lane that was served last has got: a lane that joins begins there. */
  servedUs = 0;
  /** Tasks that were taken from a loaded worker, and for whom. */
  readonly moved: [task: TaskState, thief: WorkerState][] = [];
  /** Runs that were taken from a loaded worker, and that it would not give up. */
  runsMoved = 0;
  runsKept = 0;
  /** Records of runs that are over, for new ones; see `reuseRecord` in `workload.ts`. */
  readonly recordsOfRuns: Assignment[] = [];
  /** Runs of tasks that may be copied, and that take much longer than expected. */
  readonly stragglers: Set<Assignment> = new Set();
  /** Second runs begun beside slow ones. */
  runsCopied = 0;
  /** When loaded and idle workers are compared next. */
  stealAtMs = 0;

  /** By task numbers. */
  readonly blocks: RangeTable<Block> = new RangeTable();
  /** Blocks of one task, by its key. */
  readonly exactKeys: Map<string, Block> = new Map();
  /** Blocks with indexed keys, by what comes before the index. */
  readonly keyPrefixes: Map<string, Block[]> = new Map();
  readonly functions: Map<string, FunctionState> = new Map();
  readonly requirements: Map<string, Requirement> = new Map();
  readonly durations: Durations = new Durations();
  readonly spans: SpanTable = new SpanTable();
  readonly values: ValueBudget;
  /** Arguments of tasks that were submitted one by one. */
  readonly args: ByteChunks = new ByteChunks();
  /** Small results of such tasks. */
  readonly lone: ByteChunks = new ByteChunks();
  readonly counts: TaskCounts = noTasks();

  readonly outbox: Outbox = new Outbox();
  readonly story: Story;
  /** Whether plugins are told what happens. */
  isObserved = false;
  /** Tasks whose conditions changed: their next state is to be found. */
  readonly reviews: TaskState[] = [];
  /** Tasks that wait for a moment in time, see `delays.ts`. */
  readonly delays: Heap<Delay> = new Heap((a, b) => a.dueMs < b.dueMs);
  /** The last deaths of workers: a nanny may tell more about them. */
  readonly deaths: Map<string, Death> = new Map();
  /** Values on their way from a client to a first worker. */
  readonly scatters: PendingScatters = new PendingScatters();
  /** Copies that are being made, see `replication.ts`. */
  readonly copies: Set<CopyBatch> = new Set();
  readonly transfers: Map<TaskState, Map<WorkerState, Transfer>> = new Map();
  /** Results of which more than one copy is to be kept. */
  readonly copiesWanted: Map<TaskState, number> = new Map();
  /** Results with copies that may be too many, and since when; the oldest first. */
  readonly surplus: Map<TaskState, number> = new Map();
  /** Workers that are to go without loss. */
  readonly retirements: Set<Retirement> = new Set();
  /** What clients share: locks, queues, datasets, … */
  readonly coordination: Coordination = new Coordination();
  /** What clients plug into all workers. */
  readonly plugins: WorkerPlugins = new WorkerPlugins();
  needsPlacement = false;
  workersAwaited: WorkersAwaited[] = [];

  nextTask = 1;
  nextRun = 1;
  nextTicket = 1;
  nextFunction = 1;
  nextBlock = 1;
  nextGeneration = 1;

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
    this.clockMs = config.startedMs;
    this.busyMs = config.startedMs;
    this.values = new ValueBudget(config.inlineTotalBytesMax);
    this.story = new Story(config.storyEntriesMax);
  }
}
