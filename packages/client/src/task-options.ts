import {
  FarmError,
  type FunctionExecutor,
  LIMITS,
  type TaskOptions,
  checkKey,
  taskOptions,
  parseBytes,
} from '@farm/protocol';

import type { FunctionPlace } from './functions/prepare.ts';
import { checkOptionNames } from './option-names.ts';

/** How failed tasks are tried again. */
export interface RetryOptions {
  /** How often. */
  readonly count: number;
  /**
   * Milliseconds before the first retry; doubled before each further one, up to ten minutes.
   * @default 0
   */
  readonly delayMs?: number;
  /**
   * Names of errors (`TypeError`) and codes (`ERR_COMMAND`) that are worth it.
   * @default all
   */
  readonly on?: readonly string[];
}

/** When a task is slow. */
export interface SpeculateOptions {
  /**
   * Once it has run for longer than this times the mean of its function.
   * @default 3
   */
  readonly factor?: number;
  /**
   * And for longer than this, milliseconds.
   * @default 1000
   */
  readonly minMs?: number;
}

/** How tasks are to be run: what `client.with(options)` takes. */
export interface SubmitOptions {
  /**
   * Amounts a worker must have free, as its `--resources` names them; `threads` counts slots.
   * @default none, and one slot
   */
  readonly resources?: Readonly<Record<string, number>>;
  /**
   * Memory a task needs: bytes, or a size as `'2GB'` or `'500MiB'`. Workers take no more such tasks
   * at once than fit into their memory limit. One that takes more is ended and fails with
   * `ERR_MEMORY_LIMIT` (`MemoryLimitExceeded`): a command with everything it started, a function by
   * the heap and the buffers of its thread.
   * @default not counted
   */
  readonly memory?: number | string;
  /**
   * Names, addresses or hosts of the workers the tasks may run on.
   * @default any
   */
  readonly workers?: string | readonly string[];
  /**
   * Whether `workers` is a preference only.
   * @default false
   */
  readonly allowOtherWorkers?: boolean;
  /**
   * How often a task that failed is tried again; or with what wait in between, and after which
   * errors. Another worker is preferred.
   * @default 0
   */
  readonly retries?: number | RetryOptions;
  /**
   * Whether a task that may have run is run again when its worker is lost, or its result with it.
   * With false it fails instead, with `ERR_KILLED_WORKER` or `ERR_LOST_DATA`: for tasks with side
   * effects that must not happen twice.
   * @default true
   */
  readonly rerunOnLoss?: boolean;
  /**
   * Whether a task that takes much longer than others of its function, three of which have ended, is
   * started a second time on a worker that has nothing else to do; or when. The first result counts
   * and the other run is stopped. Not for tasks with `rerunOnLoss: false`.
   * @default false
   */
  readonly speculate?: boolean | SpeculateOptions;
  /**
   * Tasks of a larger priority run earlier.
   * @default 0
   */
  readonly priority?: number;
  /**
   * Key of the one task that is submitted, or with `map` what the keys begin with: task i gets
   * `${key}-${i}`. One that is in use for another task is refused.
   * @default the function's name and a random suffix
   */
  readonly key?: string;
  /**
   * Name of the part of the work the tasks are, or names, outermost first: what `client.spans()`
   * counts them under. Those of nested `with` add up.
   * @default none
   */
  readonly span?: string | readonly string[];
  /**
   * Longest run of one attempt, milliseconds, from its start.
   * @default no limit
   */
  readonly timeoutMs?: number;
  /**
   * What functions run in: threads of the worker, or processes of their own, which faults of native
   * code do not take the worker down with.
   * @default what the worker was started with (`--executor`)
   */
  readonly executor?: FunctionExecutor;
  /**
   * Whether functions in threads of one worker share the memory of their inputs, rather than get a
   * copy each. Typed arrays and Buffers of 4 KiB and more, in inputs of 1 MiB and more, are views of
   * a `SharedArrayBuffer` then, which nobody may write to: others read it at the same time, and later.
   * Everything else is the task's own, as ever.
   * @default false
   */
  readonly sharedInputs?: boolean;
}

/** Checked options, in the wire's form. */
export interface CheckedOptions {
  readonly key: string | undefined;
  readonly how: FunctionPlace;
  readonly task: TaskOptions;
}

const OPTION_NAMES: Readonly<Record<keyof SubmitOptions, true>> = {
  resources: true,
  memory: true,
  workers: true,
  allowOtherWorkers: true,
  retries: true,
  rerunOnLoss: true,
  speculate: true,
  priority: true,
  key: true,
  span: true,
  timeoutMs: true,
  executor: true,
  sharedInputs: true,
};

/**
 * Checks what a user asks for and brings it into the wire's form.
 *
 * @throws FarmError `ERR_ARGUMENT` naming the option.
 */
export function checkSubmitOptions(options: SubmitOptions): CheckedOptions {
  checkOptionNames(options, OPTION_NAMES, 'with');
  const { allowOtherWorkers = false, rerunOnLoss = true, priority = 0, key, timeoutMs } = options;
  const { executor, sharedInputs = false } = options;
  if (executor !== undefined && executor !== 'threads' && executor !== 'processes') {
    throw refusal('executor', 'is neither threads nor processes', executor);
  }
  if (typeof sharedInputs !== 'boolean') {
    throw refusal('sharedInputs', 'is not true or false', sharedInputs);
  }
  if (typeof allowOtherWorkers !== 'boolean') {
    throw refusal('allowOtherWorkers', 'is not true or false', allowOtherWorkers);
  }
  if (typeof rerunOnLoss !== 'boolean') {
    throw refusal('rerunOnLoss', 'is not true or false', rerunOnLoss);
  }
  const retries = checkRetries(options.retries);
  const speculate = checkSpeculate(options.speculate);
  if (speculate !== null && !rerunOnLoss) {
    throw refusal('speculate', 'is not for tasks with rerunOnLoss: false', options.speculate);
  }
  if (!Number.isFinite(priority)) throw refusal('priority', 'is not a finite number', priority);
  if (timeoutMs !== undefined && !(Number.isFinite(timeoutMs) && timeoutMs > 0)) {
    throw refusal('timeoutMs', 'is not a number of milliseconds above 0', timeoutMs);
  }
  if (key !== undefined) {
    if (typeof key !== 'string') throw refusal('key', 'is not text', key);
    checkKey(key);
  }
  const workers = checkWorkers(options.workers);
  return {
    key,
    how: { executor, sharedInputs },
    task: taskOptions({
      resources: [...checkResources(options.resources), ...checkMemory(options.memory)],
      workers,
      // Alone it means nothing, and the scheduler interns requirements.
      allowOtherWorkers: allowOtherWorkers && workers.length > 0,
      retries: retries.count,
      retryDelayMs: retries.delayMs,
      retryOn: retries.on,
      rerunOnLoss,
      spans: spanPath(options.span),
      speculate,
      priority,
      timeoutMs: timeoutMs ?? null,
    }),
  };
}

const SPECULATE_NAMES: Readonly<Record<keyof SpeculateOptions, true>> = {
  factor: true,
  minMs: true,
};

function checkSpeculate(speculate: SubmitOptions['speculate'] = false): TaskOptions['speculate'] {
  if (speculate === false) return null;
  const asked: unknown = speculate === true ? {} : speculate;
  if (typeof asked !== 'object' || asked === null || Array.isArray(asked)) {
    throw refusal('speculate', 'is neither true, false nor { factor, minMs }', speculate);
  }
  checkOptionNames(asked, SPECULATE_NAMES, 'with: speculate');
  const { factor = 3, minMs = 1_000 }: SpeculateOptions = asked;
  if (typeof factor !== 'number' || !(factor >= 1 && factor < Infinity)) {
    throw refusal('speculate.factor', 'is not a number from 1 on', factor);
  }
  if (typeof minMs !== 'number' || !(minMs >= 0 && minMs < Infinity)) {
    throw refusal('speculate.minMs', 'is not a number of milliseconds from 0 on', minMs);
  }
  return [factor, minMs];
}

const RETRY_NAMES: Readonly<Record<keyof RetryOptions, true>> = {
  count: true,
  delayMs: true,
  on: true,
};

function checkRetries(retries: SubmitOptions['retries'] = 0): Required<RetryOptions> {
  if (typeof retries !== 'object' || retries === null) {
    return { count: checkCount('retries', retries), delayMs: 0, on: [] };
  }
  checkOptionNames(retries, RETRY_NAMES, 'with: retries');
  const { count, delayMs = 0, on = [] } = retries;
  if (typeof delayMs !== 'number' || !(delayMs >= 0 && delayMs < Infinity)) {
    throw refusal('retries.delayMs', 'is not a number of milliseconds from 0 on', delayMs);
  }
  if (!Array.isArray(on) || !on.every((name) => typeof name === 'string' && name !== '')) {
    throw refusal('retries.on', 'is not a list of error names and codes', on);
  }
  return { count: checkCount('retries.count', count), delayMs, on };
}

function checkCount(option: string, count: number): number {
  if (Number.isSafeInteger(count) && count >= 0) return count;
  throw refusal(option, 'is not a whole number from 0 on', count);
}

function checkResources(resources: SubmitOptions['resources'] = {}): TaskOptions['resources'] {
  if (typeof resources !== 'object' || resources === null || Array.isArray(resources)) {
    throw refusal('resources', 'is not an object of amounts by name, as { GPU: 1 }', resources);
  }
  return Object.entries(resources).map(([name, amount]) => {
    if (name.trim() === '') throw refusal('resources', 'has a name that is empty', name);
    if (name === 'memory') throw refusal('resources', 'has memory, an option of its own', amount);
    if (typeof amount !== 'number' || !Number.isFinite(amount) || amount < 0) {
      throw refusal(`resources.${name}`, 'is not an amount from 0 on', amount);
    }
    return [name, amount] as const;
  });
}

/** Memory travels as one more resource, which every worker has as much of as its limit says. */
function checkMemory(memory: SubmitOptions['memory']): TaskOptions['resources'] {
  if (memory === undefined) return [];
  const bytes = typeof memory === 'string' ? sizeOf(memory) : memory;
  if (!Number.isFinite(bytes) || bytes <= 0) {
    throw refusal('memory', 'is neither bytes nor a size as 2GB or 500MiB', memory);
  }
  return [['memory', Math.ceil(bytes)]];
}

function sizeOf(text: string): number {
  try {
    return parseBytes(text);
  } catch {
    return Number.NaN;
  }
}

/**
 * The names of a span as a list.
 *
 * @throws FarmError `ERR_ARGUMENT`
 */
export function spanPath(span: SubmitOptions['span'] = []): readonly string[] {
  const path: unknown = typeof span === 'string' ? [span] : span;
  if (!Array.isArray(path)) throw refusal('span', 'is neither a name nor a list of names', span);
  if (path.length > LIMITS.pathDepthMax) {
    throw refusal('span', `has more than ${LIMITS.pathDepthMax} names`, path.length);
  }
  return path.map((name: unknown) => {
    if (typeof name === 'string' && name !== '' && name.length <= LIMITS.keyLengthMax) return name;
    throw refusal('span', 'has a name that is none', name);
  });
}

function checkWorkers(workers: SubmitOptions['workers'] = []): readonly string[] {
  const list: unknown = typeof workers === 'string' ? [workers] : workers;
  if (!Array.isArray(list)) throw refusal('workers', 'is not a list of names', workers);
  return list.map((name: unknown) => {
    if (typeof name === 'string' && name.trim() !== '') return name;
    throw refusal('workers', 'has an entry that names no worker', name);
  });
}

function refusal(option: string, problem: string, value: unknown): FarmError {
  const shown = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return new FarmError('ERR_ARGUMENT', `with: ${option} ${problem}: ${shown}`);
}
