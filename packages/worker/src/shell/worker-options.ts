import type { FunctionExecutor, Logger, PreviousDeath, ResourceAmounts } from '@farm/protocol';

import type { DeviceResource, MemoryFractions } from '../core/index.ts';
import type { GpuVendor } from './devices/visible-gpus.ts';
import type { CommandsOptions } from './executors/commands/command-site.ts';

/** Options of `Worker`. */
export interface WorkerOptions {
  /** The scheduler's address. Exactly one of this and `schedulerFile` is given. */
  readonly address?: string;
  /** The file a scheduler writes; it may appear later than the worker starts. */
  readonly schedulerFile?: string;
  /**
   * The workers' token, with `address`.
   * @default the environment variable FARM_TOKEN, else the credential file the scheduler left for
   * its own user on this host
   */
  readonly token?: string;
  /** Execution slots. */
  readonly nthreads: number;
  /**
   * What functions run in that do not ask for one themselves: threads of this process, or child
   * processes, which faults of native code do not take the worker down with.
   * @default 'threads'
   */
  readonly executor?: FunctionExecutor;
  /** @default host name, process id and a random end */
  readonly name?: string;
  /** @default none */
  readonly resources?: ResourceAmounts;
  /**
   * Which resources stand for devices, of which tasks learn the ones they are granted.
   * @default a resource `GPU` for the GPUs from the first on
   */
  readonly devices?: readonly DeviceResource[];
  /**
   * CPUs that the tasks of each slot are bound to, as `taskset` takes them: `['0-1', '2-3']`.
   * @default none
   */
  readonly slotCpus?: readonly string[];
  /** By whose variable GPUs are selected. @default 'auto', as the environment and drivers tell */
  readonly gpuVendor?: GpuVendor | 'auto';
  /**
   * Resident memory of the process: results are spilled to files and tasks refused before it is
   * reached, and a nanny kills a process that comes close to it all the same.
   * @default null (no limit)
   */
  readonly memoryLimitBytes?: number | null;
  /** At which parts of the limit that happens. @default 0.6, 0.7, 0.8 and 0.95, as in Dask */
  readonly memoryFractions?: MemoryFractions;
  /**
   * Directory of a control group below which tasks that ask for memory get one each.
   * @default the worker's own group, where none can be made there none
   */
  readonly taskCgroup?: string;
  /** @default a directory for this user in the system's directory for temporary files */
  readonly localDirectory?: string;
  /** Modules of plugins, which are set up before it connects. @default none */
  readonly preload?: readonly string[];
  /** For the functions that these modules export. @default none */
  readonly preloadArgv?: readonly string[];
  /** What is put around commands, and where their output is streamed to. @default nothing */
  readonly commands?: CommandsOptions;
  /**
   * How long to go on without a scheduler, at the start and after it was lost.
   * @default 300_000
   */
  readonly deathTimeoutMs?: number;
  /**
   * A scheduler that is silent for this long has lost its connection.
   * @default 15_000
   */
  readonly heartbeatTimeoutMs?: number;
  /**
   * Address of this machine to serve results on; `0.0.0.0` for all.
   * @default the one that reaches the scheduler
   */
  readonly host?: string;
  /**
   * Ports to serve results on, tried in turn.
   * @default [0] (any free one)
   */
  readonly ports?: readonly number[];
  /**
   * Whether large results go to workers of this host by way of its memory: the worker that needs one
   * reads it in the process that holds it, or maps the file in memory that it lies in. Linux, with the optional dependency koffi.
   * @default true
   */
  readonly hostMemory?: boolean;
  /** Whether a nanny watches this process. @default false */
  readonly nanny?: boolean;
  /** How the process before this one died, as its nanny says. @default null */
  readonly previousDeath?: PreviousDeath | null;
  /** @default silentLogger */
  readonly logger?: Logger;
  /** Takes what tasks write. @default this process's own stdout and stderr */
  readonly output?: (stream: 'stdout' | 'stderr', text: string) => void;
}

/** The default of {@link WorkerOptions.deathTimeoutMs}: five minutes. */
export const DEATH_TIMEOUT_MS = 300_000;
