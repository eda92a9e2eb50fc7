import { FarmError, type TaskOptions, checkKey, taskOptions } from '@farm/protocol';

import { checkOptionNames } from './option-names.ts';

/** How tasks are to be run: what `client.with(options)` takes. */
export interface SubmitOptions {
  /**
   * Amounts a worker must have free, as its `--resources` names them; `threads` counts slots.
   * @default none, and one slot
   */
  readonly resources?: Readonly<Record<string, number>>;
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
   * How often a task that failed is tried again.
   * @default 0
   */
  readonly retries?: number;
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
   * Longest run of one attempt, milliseconds, from its start.
   * @default no limit
   */
  readonly timeoutMs?: number;
}

/** Checked options, in the wire's form. */
export interface CheckedOptions {
  readonly key: string | undefined;
  readonly task: TaskOptions;
}

const OPTION_NAMES: Readonly<Record<keyof SubmitOptions, true>> = {
  resources: true,
  workers: true,
  allowOtherWorkers: true,
  retries: true,
  priority: true,
  key: true,
  timeoutMs: true,
};

/**
 * Checks what a user asks for and brings it into the wire's form.
 *
 * @throws FarmError `ERR_ARGUMENT` naming the option.
 */
export function checkSubmitOptions(options: SubmitOptions): CheckedOptions {
  checkOptionNames(options, OPTION_NAMES, 'with');
  const { allowOtherWorkers = false, retries = 0, priority = 0, key, timeoutMs } = options;
  if (typeof allowOtherWorkers !== 'boolean') {
    throw refusal('allowOtherWorkers', 'is not true or false', allowOtherWorkers);
  }
  if (!Number.isSafeInteger(retries) || retries < 0) {
    throw refusal('retries', 'is not a whole number from 0 on', retries);
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
    task: taskOptions({
      resources: checkResources(options.resources),
      workers,
      // Alone it means nothing, and the scheduler interns requirements.
      allowOtherWorkers: allowOtherWorkers && workers.length > 0,
      retries,
      priority,
      timeoutMs: timeoutMs ?? null,
    }),
  };
}

function checkResources(resources: SubmitOptions['resources'] = {}): TaskOptions['resources'] {
  if (typeof resources !== 'object' || resources === null || Array.isArray(resources)) {
    throw refusal('resources', 'is not an object of amounts by name, as { GPU: 1 }', resources);
  }
  return Object.entries(resources).map(([name, amount]) => {
    if (name.trim() === '') throw refusal('resources', 'has a name that is empty', name);
    if (typeof amount !== 'number' || !Number.isFinite(amount) || amount < 0) {
      throw refusal(`resources.${name}`, 'is not an amount from 0 on', amount);
    }
    return [name, amount] as const;
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
