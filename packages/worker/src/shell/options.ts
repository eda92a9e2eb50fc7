import {
  defineProgram,
  formatAddress,
  interfaceAddress,
  parseAddress,
  parseDuration,
  parseHeartbeatTimeout,
  parseMemoryFractions,
  parseMemoryLimit,
  parsePortRange,
  parseWorkerResources,
  parseThreadCount,
  parseWorkerCount,
  runProgram,
  UsageError,
  workerSlots,
  type OptionSource,
  type ProgramHost,
} from '@farm/protocol/command-line';
import { FarmError, LIMITS } from '@farm/protocol/core';
import type { FunctionExecutor } from '@farm/protocol';

import { readAllocation, type Allocation } from './allocation.ts';
import { DRAIN_TIMEOUT_MS, type LeavingOptions } from './lifetime.ts';
import type { WorkerProcessOptions } from './nanny/nanny.ts';
import { visibleGpus, type GpuVendor } from './devices/visible-gpus.ts';
import { deviceWarnings, workerDevices } from './devices/worker-devices.ts';
import { findTaskset, hostCpus } from './pinning/host-cpus.ts';
import { slotCpus } from './pinning/slot-cpus.ts';
import { packageVersion } from './package-version.ts';

const DEFAULT_SCHEDULER_PORT = 8786;
const NAME_LENGTH_MAX = 200;

const program = defineProgram({
  name: 'farm-worker',
  summary:
    'Starts a worker, or several: it connects to a scheduler, runs tasks and keeps their ' +
    'results. It may be started before the scheduler. Stop it with Ctrl-C or SIGTERM.',
  version: packageVersion(),
  envPrefix: 'FARM_WORKER',
  positional: {
    value: 'ADDRESS',
    description:
      "the scheduler's address, tcp://host:8786; the token is taken from FARM_TOKEN or from what " +
      'a scheduler of the same user left in its home directory',
    parse: schedulerAddress,
  },
  options: {
    schedulerFile: {
      value: 'FILE',
      description: "the scheduler's file, with its address and token; waited for if missing",
      parse: text,
      env: 'FARM_SCHEDULER_FILE',
    },
    nthreads: {
      value: 'N',
      description: 'execution slots of each worker; 0 or auto shares out the CPUs this may use',
      parse: parseThreadCount,
      default: 'auto',
    },
    nworkers: {
      value: 'N',
      description: 'worker processes to start; negative counts back from the CPUs; or auto',
      parse: parseWorkerCount,
      default: 1,
    },
    executor: {
      value: 'KIND',
      description:
        'what functions run in: threads of the worker process, or processes of their own, which ' +
        'cost more and cannot take the worker down with them',
      parse: functionExecutor,
      default: 'threads',
    },
    name: {
      value: 'NAME',
      description: 'name of the worker; several get -0, -1, … behind it',
      parse: workerName,
      defaultText: 'host name, process id and a random end',
    },
    resources: {
      value: 'LIST',
      description:
        'what each worker has besides threads, for example "GPU=1 MEM=10e9"; devices by their ' +
        'numbers or names as in GPU=[0,1]',
      parse: parseWorkerResources,
    },
    pin: {
      description: 'bind the tasks of each slot to CPUs of their own (Linux, by taskset)',
      default: false,
    },
    gpuVendor: {
      value: 'VENDOR',
      description:
        'whose variable selects the GPUs of a task: nvidia (CUDA_VISIBLE_DEVICES), amd ' +
        '(ROCR_VISIBLE_DEVICES), intel (ZE_AFFINITY_MASK), or auto',
      parse: gpuVendor,
      default: 'auto',
    },
    memoryLimit: {
      value: 'SIZE',
      description:
        'memory of each worker process: auto (its share by threads), 0 (no limit), a fraction, ' +
        '5GB, 5GiB. Results are spilled to the local directory before it is reached. What ' +
        'commands take is not part of it',
      parse: memoryLimit,
      default: 'auto',
    },
    memoryFractions: {
      value: 'LIST',
      description:
        'parts of the memory limit at which results are spilled, the worker takes no more tasks, ' +
        'and the nanny kills it; 0 for never',
      parse: parseMemoryFractions,
      defaultText: 'target=0.6 spill=0.7 pause=0.8 terminate=0.95',
    },
    taskCgroup: {
      value: 'DIR',
      description:
        'directory of a control group below which tasks that ask for memory get one each (Linux)',
      parse: text,
      defaultText: "the worker's own group, where that can be",
    },
    localDirectory: {
      value: 'DIR',
      description: 'where each worker makes a directory of its own',
      parse: text,
      defaultText: 'farm-workers-UID in the system directory for temporary files',
    },
    commandPrefix: {
      value: 'WORDS',
      description: 'program and arguments, split at blanks, that run every command',
      parse: text,
    },
    siteSetup: {
      value: 'FILE',
      description:
        'script that a shell sources at the start; commands get the environment it makes',
      parse: text,
    },
    outputDirectory: {
      value: 'DIR',
      description: 'where the output of commands is streamed to',
      parse: text,
      defaultText: 'farm-output',
    },
    preload: {
      value: 'MODULE',
      description:
        'set up plugins of this file or package before the worker connects; may be repeated',
      parse: text,
      repeatable: true,
    },
    preloadArgv: {
      value: 'ARG',
      description: 'argument for these plugins, written --preload-argv=ARG; may be repeated',
      parse: text,
      repeatable: true,
    },
    preloadNanny: {
      value: 'MODULE',
      description: 'set up plugins of this file or package in the nanny; may be repeated',
      parse: text,
      repeatable: true,
    },
    preloadNannyArgv: {
      value: 'ARG',
      description: "argument for the nanny's plugins; may be repeated",
      parse: text,
      repeatable: true,
    },
    deathTimeout: {
      value: 'TIME',
      description: 'exit after this long without a scheduler: 60, 60s, 1m',
      parse: parseDuration,
      default: 300_000,
      defaultText: '5m',
    },
    drainTimeout: {
      value: 'TIME',
      description:
        'after SIGTERM, tasks that run may take this long to end; less than what the batch system ' +
        'waits before it kills',
      parse: parseDuration,
      default: DRAIN_TIMEOUT_MS,
      defaultText: '20s',
    },
    lifetime: {
      value: 'TIME',
      description:
        'after this long take no more tasks, end those that run, copy results elsewhere, and exit',
      parse: parseDuration,
    },
    lifetimeStagger: {
      value: 'TIME',
      description: 'the lifetime of each worker is longer or shorter by up to this, at random',
      parse: parseDuration,
    },
    lifetimeRestart: {
      description: 'the nanny starts another worker after the lifetime of one',
      default: false,
    },
    heartbeatTimeout: {
      value: 'TIME',
      description: 'a scheduler that is silent for this long has lost its connection',
      parse: parseHeartbeatTimeout,
      default: LIMITS.heartbeatTimeoutMs,
      defaultText: '15s',
    },
    host: {
      value: 'HOST',
      description: 'address to serve results to other workers on; 0.0.0.0 for all',
      parse: text,
      defaultText: 'the one that reaches the scheduler',
    },
    interface: {
      value: 'NAME',
      description: 'network interface to serve results on, for example ib0',
      parse: (name: string) => interfaceAddress(name),
    },
    workerPort: {
      value: 'PORT',
      description: 'port to serve results on, or a range 9000:9010 to choose from; 0 for any',
      parse: parsePortRange,
      default: [0],
      defaultText: '0',
      env: 'FARM_WORKER_PORT',
    },
    hostMemory: {
      description:
        'read large results of other workers on this host in their memory, or map them (Linux), ' +
        'and let them do so; otherwise they come over a socket',
      default: true,
    },
    nanny: {
      description: 'run each worker under a process that starts it again when it dies',
      default: true,
    },
    dashboard: {
      description: 'has no effect, workers serve no dashboard; taken so that scripts for Dask run',
      default: false,
    },
  },
  conflicts: [['host', 'interface']],
  examples: [
    {
      command: 'farm-worker --scheduler-file scheduler.json',
      description: 'one worker with a slot for each CPU',
    },
    {
      command: 'farm-worker tcp://10.0.0.1:8786 --nworkers 4 --nthreads 1 --resources GPU=1',
      description: 'four workers of one slot and one GPU each',
    },
  ],
});

/** What is to be started. */
export interface WorkerPlan {
  readonly workers: readonly WorkerProcessOptions[];
  readonly isNannied: boolean;
  /** Modules of plugins of the nannies, and arguments for them. @default none */
  readonly nannyPlugins?: { readonly modules: readonly string[]; readonly args: readonly string[] };
  /** Sentences for the log. */
  readonly warnings: readonly string[];
}

/**
 * Understands a command line of `farm-worker` and hands the plan to `main`, whose result is the
 * exit code. Answers `--help`, `--version` and usage errors itself.
 */
export async function runWorkerProgram(
  main: (plan: WorkerPlan) => Promise<number>,
  host: Partial<ProgramHost> = {},
  allocation: Allocation = readAllocation(),
): Promise<void> {
  const { env = process.env } = host;
  await runProgram(program, async (parsed) => main(planWorkers(parsed, allocation, env)), host);
}

/** Makes a plan of a command line; throws a UsageError where the options do not fit together. */
function planWorkers(
  commandLine: ReturnType<(typeof program)['parse']>,
  allocation: Allocation,
  env: Readonly<Record<string, string | undefined>>,
): WorkerPlan {
  const { options, positional } = commandLine;
  const { nthreads, nworkers, executor, name, localDirectory, nanny } = options;
  const { resources = { amounts: [], devices: [] } } = options;
  const gpus = visibleGpus(options.gpuVendor, env);
  const { host = options.interface, workerPort: ports, memoryFractions } = options;
  const { cores, memoryBytes: totalBytes } = allocation;
  const slots = slotsOf(nthreads, nworkers, cores);
  if (ports[0] !== 0 && ports.length < slots.length) {
    throw new UsageError(
      `--worker-port: ${slots.length} workers need as many ports, this is ${ports.length}`,
    );
  }
  const scheduler = schedulerOf(
    options.schedulerFile,
    commandLine.source('schedulerFile'),
    positional,
  );
  const warnings = new Set<string>();
  const threads = slots.reduce((sum, count) => sum + count, 0);
  if (threads > cores) {
    warnings.add(`${count(threads, 'thread')} on ${count(cores, 'core')}: they will share`);
  }
  for (const warning of deviceWarnings(resources, gpus, slots.length)) warnings.add(warning);
  if (options.dashboard) warnings.add('--dashboard has no effect: workers serve no dashboard');
  const shared = {
    ...scheduler,
    executor,
    resources: resources.amounts,
    gpuVendor: options.gpuVendor,
    ...(localDirectory === undefined ? {} : { localDirectory }),
    ...(options.preload.length === 0
      ? {}
      : { preload: options.preload, preloadArgv: options.preloadArgv }),
    commands: {
      prefix: options.commandPrefix?.split(/\s+/).filter((word) => word !== '') ?? [],
      ...(options.siteSetup === undefined ? {} : { siteSetup: options.siteSetup }),
      ...(options.outputDirectory === undefined
        ? {}
        : { outputDirectory: options.outputDirectory }),
    },
    deathTimeoutMs: options.deathTimeout,
    drainTimeoutMs: options.drainTimeout,
    ...lifetimeOf(options),
    heartbeatTimeoutMs: options.heartbeatTimeout,
    ...(host === undefined ? {} : { host }),
    ports,
    ...(options.hostMemory ? {} : { hostMemory: false }),
    nanny,
    ...(memoryFractions === undefined ? {} : { memoryFractions }),
    ...(options.taskCgroup === undefined ? {} : { taskCgroup: options.taskCgroup }),
  };
  const pinned = options.pin ? pinSlots(threads, env, warnings) : undefined;
  let pinnedSlots = 0;
  const workers: WorkerProcessOptions[] = [];
  for (const [index, slotCount] of slots.entries()) {
    const capacity = { totalBytes, nthreads: slotCount, cores };
    const memory = parseMemoryLimit(options.memoryLimit, capacity);
    if (memory.warning !== undefined) warnings.add(memory.warning);
    const numbered = slots.length === 1 ? name : `${name}-${index}`;
    const own = pinned?.slice(pinnedSlots, pinnedSlots + slotCount);
    pinnedSlots += slotCount;
    workers.push({
      ...shared,
      nthreads: slotCount,
      ...(own === undefined ? {} : { slotCpus: own }),
      devices: workerDevices(resources, gpus.count, index),
      memoryLimitBytes: memory.limitBytes,
      ...(name === undefined || numbered === undefined ? {} : { name: numbered }),
    });
  }
  const plan = { workers, isNannied: nanny, warnings: [...warnings] };
  const { preloadNanny: modules, preloadNannyArgv: args } = options;
  if (modules.length === 0) return plan;
  if (!nanny) throw new UsageError('--preload-nanny: with --no-nanny there is no nanny');
  return { ...plan, nannyPlugins: { modules, args } };
}

function slotsOf(
  nthreads: number | 'auto',
  nworkers: number | 'auto',
  cores: number,
): readonly number[] {
  try {
    return workerSlots({ nthreads, nworkers, cores });
  } catch (error) {
    if (!(error instanceof FarmError)) throw error;
    throw new UsageError(`--nworkers: ${error.message}`, { cause: error });
  }
}

function lifetimeOf(options: {
  readonly lifetime: number | undefined;
  readonly lifetimeStagger: number | undefined;
  readonly lifetimeRestart: boolean;
  readonly nanny: boolean;
}): LeavingOptions {
  const { lifetime, lifetimeStagger, lifetimeRestart: restart, nanny } = options;
  if (restart && !nanny) {
    throw new UsageError('--lifetime-restart: with --no-nanny there is nobody to restart it');
  }
  if (lifetime === undefined) {
    if (lifetimeStagger === undefined && !restart) return {};
    const flag = restart ? '--lifetime-restart' : '--lifetime-stagger';
    throw new UsageError(`${flag}: give a --lifetime too`);
  }
  const staggerMs = lifetimeStagger ?? 0;
  if (staggerMs >= lifetime) {
    throw new UsageError('--lifetime-stagger: it has to be shorter than --lifetime');
  }
  return { lifetime: { lifetimeMs: lifetime, staggerMs, restart } };
}

function schedulerOf(
  schedulerFile: string | undefined,
  source: OptionSource,
  address: string | undefined,
): { readonly address: string } | { readonly schedulerFile: string } {
  // What is typed overrules what the environment says.
  if (address !== undefined && (schedulerFile === undefined || source === 'environment')) {
    return { address };
  }
  if (schedulerFile === undefined) {
    throw new UsageError('which scheduler? give --scheduler-file FILE or its ADDRESS');
  }
  if (address !== undefined) {
    throw new UsageError('ADDRESS and --scheduler-file exclude each other, keep one');
  }
  return { schedulerFile };
}

function text(value: string): string {
  return value;
}

function schedulerAddress(value: string): string {
  return formatAddress(parseAddress(value, { defaultPort: DEFAULT_SCHEDULER_PORT }));
}

function memoryLimit(value: string): string {
  // Read again when the number of threads is known.
  parseMemoryLimit(value, { totalBytes: Number.MAX_SAFE_INTEGER, nthreads: 1, cores: 1 });
  return value;
}

function functionExecutor(value: string): FunctionExecutor {
  if (value === 'threads' || value === 'processes') return value;
  throw new FarmError('ERR_ARGUMENT', 'the kinds are threads and processes');
}

/** The CPUs of each slot of all workers; undefined, with a warning, where they cannot be bound. */
function pinSlots(
  slots: number,
  env: Readonly<Record<string, string | undefined>>,
  warnings: Set<string>,
): readonly string[] | undefined {
  const cpus = hostCpus();
  if (cpus.length === 0) {
    warnings.add('--pin has no effect: this system does not tell which CPUs there are');
    return undefined;
  }
  if (findTaskset(env['PATH'] ?? '') === undefined) {
    warnings.add('--pin has no effect: it needs the program taskset (of util-linux) in PATH');
    return undefined;
  }
  return slotCpus(cpus, slots);
}

function gpuVendor(value: string): GpuVendor | 'auto' {
  if (value === 'auto' || value === 'nvidia' || value === 'amd' || value === 'intel') return value;
  throw new FarmError('ERR_ARGUMENT', 'the vendors are nvidia, amd, intel and auto');
}

function workerName(value: string): string {
  const name = value.trim();
  if (/^[^\p{Cc}\p{Cs}]+$/u.test(name) && name.length <= NAME_LENGTH_MAX) return name;
  throw new FarmError('ERR_ARGUMENT', `a name has 1 to ${NAME_LENGTH_MAX} printable characters`);
}

function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`;
}
