/**
 * What a seed decides before anything runs: settings, workers, what clients do, and what goes
 * wrong. Plain data, so that parts can be left out to find out what a failure needs.
 */
import type { ResourceAmounts, TaskOptions } from '@farm/protocol/core';

/** What the function of a task does. */
export type Behaviour =
  | { readonly kind: 'returns' }
  /** Throws the first `times` times. */
  | { readonly kind: 'throws'; readonly times: number }
  /** Throws every second time. */
  | { readonly kind: 'flaky' }
  /** Never ends by itself. */
  | { readonly kind: 'hangs' }
  /** Ends the thread it runs in, the first `times` times. */
  | { readonly kind: 'crashes-slot'; readonly times: number }
  /** Ends the process it runs in, the first `times` times. */
  | { readonly kind: 'kills-worker'; readonly times: number }
  /** Takes so much memory: more than it was granted, and it is ended. */
  | { readonly kind: 'hungry'; readonly bytes: number }
  /** It has no function: a client hands its value over, and what is lost stays lost. */
  | { readonly kind: 'scattered' };

/** One task. */
export interface TaskPlan {
  /** Unique in the scenario. */
  readonly ref: number;
  /** Tasks in its arguments, in order, possibly several times. */
  readonly deps: readonly number[];
  /** Bytes of its result. */
  readonly sizeBytes: number;
  readonly durationMs: number;
  readonly behaviour: Behaviour;
}

/** One worker, or one that comes back under its name. */
export interface WorkerPlan {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly nthreads: number;
  readonly resources: ResourceAmounts;
  readonly joinAtMs: number;
  /** Where peers cannot reach its data, everything is relayed. */
  readonly isReachable: boolean;
  /** Where it spills and pauses by; null for no limit. */
  readonly memoryLimitBytes: number | null;
}

/** A worker of this name can run anything; it comes when faults end. */
export const RESCUER = 'rescuer';

/** One client. */
export interface ClientPlan {
  readonly name: string;
  readonly connectAtMs: number;
  /** Its share of the workers; null for none of its own. */
  readonly weight: number | null;
}

/** A block of tasks with a function and options. */
export interface SubmitOp {
  readonly kind: 'submit';
  readonly key: string;
  /** Null for a task of its own. */
  readonly indexFrom: number | null;
  readonly fn: string;
  readonly options: TaskOptions;
  readonly tasks: readonly TaskPlan[];
}

/** Values that a client hands over. */
export interface ScatterOp {
  readonly kind: 'scatter';
  readonly key: string;
  readonly indexFrom: number | null;
  /** Copies of each; 0 means one on every worker. */
  readonly copies: number;
  readonly timeoutMs: number;
  readonly tasks: readonly TaskPlan[];
}

/** What a client does. `refs` name tasks. */
export type ClientAction =
  | SubmitOp
  | ScatterOp
  /** Asks for so many copies of results; null: for results to be spread evenly. */
  | { readonly kind: 'copy'; readonly refs: readonly number[]; readonly copies: number | null }
  /** Asks for workers to go: the named one, or so many. */
  | {
      readonly kind: 'retire';
      readonly worker: string | null;
      readonly count: number;
      readonly close: boolean;
      readonly timeoutMs: number;
    }
  /** Takes a lease of a lock (`leasesMax` 1) or semaphore, and gives it back after a while. */
  | {
      readonly kind: 'lease';
      readonly name: string;
      readonly leasesMax: number;
      readonly holdMs: number;
      readonly timeoutMs: number | null;
    }
  /** Puts an item into a queue. */
  | {
      readonly kind: 'put';
      readonly name: string;
      readonly sizeMax: number | null;
      readonly timeoutMs: number;
    }
  /** Gets items of a queue. */
  | {
      readonly kind: 'get';
      readonly name: string;
      readonly max: number;
      readonly timeoutMs: number;
    }
  /** Submits tasks of another client again, under their keys. */
  | { readonly kind: 'share'; readonly refs: readonly number[] }
  | { readonly kind: 'release'; readonly refs: readonly number[] }
  | { readonly kind: 'cancel'; readonly refs: readonly number[] }
  | { readonly kind: 'retry'; readonly refs: readonly number[] }
  | { readonly kind: 'gather'; readonly refs: readonly number[] }
  | {
      readonly kind: 'ask';
      readonly method: 'scheduler-info' | 'wait-for-workers' | 'explain' | 'story';
      readonly ref: number;
    };

/** An action at its time. */
export interface ClientOp {
  readonly id: string;
  readonly atMs: number;
  /** Index of the client. */
  readonly client: number;
  readonly action: ClientAction;
}

/** What goes wrong. Workers and clients are named by index; `forMs` is how long it lasts. */
export type FaultAction =
  | { readonly kind: 'crash'; readonly worker: number; readonly restartMs: number | null }
  | { readonly kind: 'crash-all'; readonly restartMs: number }
  | { readonly kind: 'pause'; readonly worker: number; readonly forMs: number }
  | { readonly kind: 'silent-death'; readonly worker: number; readonly restartMs: number | null }
  | { readonly kind: 'drop-link'; readonly worker: number }
  /** The socket to the scheduler is lost, and the session is taken up again. */
  | { readonly kind: 'link-drop-resume'; readonly worker: number; readonly forMs: number }
  /** The same for longer than the lease. */
  | { readonly kind: 'lease-expiry'; readonly worker: number; readonly beyondMs: number }
  | { readonly kind: 'client-drop-resume'; readonly client: number; readonly forMs: number }
  | { readonly kind: 'client-lease-expiry'; readonly client: number; readonly beyondMs: number }
  | { readonly kind: 'cut-link'; readonly worker: number; readonly forMs: number }
  | { readonly kind: 'partition'; readonly a: number; readonly b: number; readonly forMs: number }
  | { readonly kind: 'delay'; readonly factor: number; readonly forMs: number }
  | {
      readonly kind: 'slow-consumer';
      readonly worker: number;
      readonly isInbound: boolean;
      readonly factor: number;
      readonly forMs: number;
    }
  | { readonly kind: 'storm'; readonly workers: number; readonly forMs: number }
  | {
      readonly kind: 'leave';
      readonly worker: number;
      /** It drains, and leaves after so long if it has not ended by then; null: at once. */
      readonly graceMs: number | null;
      readonly rejoinMs: number | null;
    }
  | { readonly kind: 'duplicate-name'; readonly worker: number }
  | { readonly kind: 'stall'; readonly forMs: number }
  | { readonly kind: 'freeze-all'; readonly forMs: number }
  | { readonly kind: 'clock-jump'; readonly byMs: number }
  | { readonly kind: 'client-vanishes'; readonly client: number }
  | { readonly kind: 'client-closes'; readonly client: number }
  | {
      readonly kind: 'slow-client';
      readonly client: number;
      readonly factor: number;
      readonly forMs: number;
    }
  /** Something on a worker takes this part of its memory limit. */
  | {
      readonly kind: 'memory-pressure';
      readonly worker: number;
      readonly part: number;
      readonly forMs: number;
    }
  /** Nothing can be spilled. */
  | { readonly kind: 'disk-full'; readonly worker: number; readonly forMs: number }
  /** What was spilled so far cannot be read again. */
  | { readonly kind: 'spill-files-lost'; readonly worker: number };

/** A fault at its time. */
export interface Fault {
  readonly id: string;
  readonly atMs: number;
  readonly action: FaultAction;
}

/** Names of faults. */
export type FaultKind = FaultAction['kind'];

/** What the cluster is like. */
export interface Settings {
  /** How long things go wrong. */
  readonly faultsMs: number;
  readonly delayMs: readonly [low: number, high: number];
  readonly jitter: number;
  /** Longest time between something's arrival and its handling. */
  readonly loopMs: number;
  /** Share of messages that pass through the codec. */
  readonly codecShare: number;
  /** Largest part of a value that is asked for at once. */
  readonly chunkBytes: number;
  readonly allowedFailures: number;
  readonly inlineTotalBytesMax: number;
  readonly prefetchTasksMax: number;
  readonly prefetchTargetMs: number;
  readonly reserveAfterMs: number;
  readonly stealIntervalMs: number;
  readonly stealCostMs: number;
  readonly stealAgainMs: number;
  readonly longTaskMs: number;
  readonly surplusAfterMs: number;
  readonly bandwidthBytesPerS: number;
  /** How long who is away is waited for. */
  readonly leaseMs: number;
  /** Share of runs that take much longer than others of their function. */
  readonly stragglerShare: number;
  /** Share of running tasks that take long to end once they are told to. */
  readonly slowStopShare: number;
  /** Odd limits and such that are on, for coverage. */
  readonly features: readonly string[];
}

/** Everything. */
export interface Scenario {
  readonly seed: number;
  readonly settings: Settings;
  readonly workers: readonly WorkerPlan[];
  readonly clients: readonly ClientPlan[];
  readonly ops: readonly ClientOp[];
  readonly faults: readonly Fault[];
}

/** Parts of a scenario that can be left out, by id. */
export function partsOf(scenario: Scenario): readonly string[] {
  return [...scenario.faults, ...scenario.ops, ...scenario.workers].map(({ id }) => id);
}

/**
 * The scenario without some of its parts. Tasks whose dependencies are left out do without them.
 */
export function without(scenario: Scenario, left: ReadonlySet<string>): Scenario {
  if (left.size === 0) return scenario;
  const kept = scenario.ops.filter(({ id }) => !left.has(id));
  const known = new Set(
    kept.flatMap(({ action }) => {
      return 'tasks' in action ? action.tasks.map(({ ref }) => ref) : [];
    }),
  );
  const ops = kept.filter(({ action }) => action.kind !== 'ask' || known.has(action.ref));
  return {
    ...scenario,
    // Faults and restrictions name workers by place: those left out keep theirs, and never join.
    workers: scenario.workers.map((worker) => {
      return left.has(worker.id) ? { ...worker, joinAtMs: Infinity } : worker;
    }),
    faults: scenario.faults.filter(({ id }) => !left.has(id)),
    ops: ops.map(({ id, atMs, client, action }) => {
      return { id, atMs, client, action: reduced(action, known) };
    }),
  };
}

function reduced(action: ClientAction, known: ReadonlySet<number>): ClientAction {
  if ('refs' in action) {
    return { ...action, refs: action.refs.filter((ref) => known.has(ref)) };
  }
  if (action.kind !== 'submit') return action;
  const tasks = action.tasks.map((task) => {
    return { ...task, deps: task.deps.filter((ref) => known.has(ref)) };
  });
  return { ...action, tasks };
}
