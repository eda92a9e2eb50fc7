import type { Failure, ResourceAmounts } from '@farm/protocol';

import { memoryAskedFor } from '../executors/executor.ts';
import type { TaskCgroups } from './cgroups/task-cgroups.ts';
import { memoryExceeded } from './memory-exceeded.ts';
import { ProcessTrees } from './process-trees.ts';

/** What the kernel counts processor time in, on all systems Node supports. */
const TICK_US = 10_000;

/** How often the memory of runs that have a limit is looked at. */
const LOOK_MS = 100;

/** A run that is watched. */
interface WatchedRun {
  readonly run: number;
  readonly slot: number;
  readonly key: string;
  readonly attempt: number;
  readonly limitBytes: number;
  peakBytes: number;
  cpuTicks: number;
}

/** What a run took, as far as was seen. */
export interface Usage {
  readonly peakBytes: number;
  /** Null for functions. */
  readonly cpuUs: number | null;
}

/** Options of a {@link MemoryGuard}. */
export interface MemoryGuardOptions {
  readonly workerName: string;
  /** Ends a run that takes too much; what is left of it is killed right after. */
  readonly interrupt: (slot: number, run: number, why: Failure) => void;
  /** Memory of a function that a run executes; undefined where it executes none. */
  readonly functionBytes: (slot: number, run: number) => Promise<number | undefined>;
  /** Those that executors have put runs into. @default none */
  readonly cgroups?: Pick<TaskCgroups, 'of' | 'takeEndedBytes'>;
  /** @default those of this machine */
  readonly trees?: Pick<ProcessTrees, 'look'>;
  /** Kills a process group. @default process.kill */
  readonly kill?: (group: number) => void;
}

/**
 * Holds tasks to the memory they asked for: ten times a second the processes of each command are
 * added up, and a function's thread is asked for its heap and buffers. What is above is ended, a
 * command with all it started. Where a run is in a control group of its own, the kernel does that,
 * and what it has killed is looked for. Costs nothing while nothing with a limit runs.
 */
export class MemoryGuard {
  readonly #options: MemoryGuardOptions;
  readonly #trees: Pick<ProcessTrees, 'look'>;
  readonly #runs = new Map<number, WatchedRun>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: MemoryGuardOptions) {
    this.#options = options;
    this.#trees = options.trees ?? new ProcessTrees();
  }

  /** A run is given to a slot. It is watched where it was granted memory. */
  began(
    slot: number,
    {
      run,
      key,
      attempt,
      resources,
    }: {
      readonly run: number;
      readonly key: string;
      readonly attempt: number;
      readonly resources: ResourceAmounts;
    },
  ): void {
    const limitBytes = memoryAskedFor(resources);
    if (limitBytes === undefined) return;
    this.#runs.set(run, { run, slot, key, attempt, limitBytes, peakBytes: 0, cpuTicks: 0 });
    this.#timer ??= setInterval(() => this.look(), LOOK_MS).unref();
  }

  /** A run is over, in whatever way. Returns what it took, where that was watched and seen. */
  ended(run: number): Usage | undefined {
    const watched = this.#runs.get(run);
    if (watched === undefined) return undefined;
    this.#runs.delete(run);
    if (this.#runs.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    const { cpuTicks } = watched;
    const endedBytes = this.#options.cgroups?.takeEndedBytes(run) ?? 0;
    const peakBytes = Math.max(watched.peakBytes, endedBytes);
    if (peakBytes === 0) return undefined;
    return { peakBytes, cpuUs: cpuTicks === 0 ? null : cpuTicks * TICK_US };
  }

  /** Looks at all commands now. */
  look(): void {
    const { workerName: worker } = this.#options;
    const runs = [...this.#runs.values()];
    const trees = this.#trees.look(runs.map(({ key, attempt }) => ({ key, attempt, worker })));
    for (const [index, run] of runs.entries()) {
      const tree = trees[index];
      if (tree !== undefined) run.cpuTicks = Math.max(run.cpuTicks, tree.cpuTicks);
      if (this.#lookAtCgroup(run, tree?.groups ?? [])) continue;
      if (tree === undefined) void this.#lookAtFunction(run);
      else this.#check(run, tree.rssBytes, tree.groups);
    }
  }

  /** Watches nothing any more. Idempotent. */
  close(): void {
    clearInterval(this.#timer);
    this.#runs.clear();
  }

  /** False where the run is in none, or has not entered it. */
  #lookAtCgroup(run: WatchedRun, groups: Iterable<number>): boolean {
    const cgroup = this.#options.cgroups?.of(run.run);
    if (cgroup === undefined) return false;
    const { residentBytes } = cgroup;
    if (cgroup.wasExceeded) {
      run.peakBytes = Math.max(run.peakBytes, cgroup.chargedBytesMax);
      this.#exceeded(run, groups);
      cgroup.kill();
      return true;
    }
    run.peakBytes = Math.max(run.peakBytes, residentBytes);
    return residentBytes > 0;
  }

  async #lookAtFunction(run: WatchedRun): Promise<void> {
    const bytes = await this.#options.functionBytes(run.slot, run.run);
    if (bytes !== undefined && this.#runs.get(run.run) === run) this.#check(run, bytes, []);
  }

  #check(run: WatchedRun, bytes: number, groups: Iterable<number>): void {
    run.peakBytes = Math.max(run.peakBytes, bytes);
    if (bytes > run.limitBytes) this.#exceeded(run, groups);
  }

  #exceeded(watched: WatchedRun, groups: Iterable<number>): void {
    const { workerName, interrupt, kill = killGroup } = this.#options;
    const { run, slot } = watched;
    interrupt(slot, run, memoryExceeded({ ...watched, workerName }));
    // It is not asked to end: it would go on to take more.
    for (const group of groups) kill(group);
  }
}

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
