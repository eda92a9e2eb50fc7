/** What tasks come to when nothing goes wrong, worked out one after the other. */
import { taskOptions } from '@farm/protocol/core';
import type { Failure, TaskOptions } from '@farm/protocol/core';

import { AMOUNT_MAX } from '../packages/scheduler/src/core/resources.ts';
import { grantedMemory } from './growing-memory.ts';
import { mix } from './prng.ts';
import type { Scenario, ScatterOp, SubmitOp, TaskPlan } from './scenario.ts';

/** A task with everything that decides its result. */
export interface TaskSpec extends TaskPlan {
  readonly key: string;
  /** What the keys of its block begin with. */
  readonly blockKey: string;
  readonly fn: string;
  readonly options: TaskOptions;
  /** Slots it takes. */
  readonly threads: number;
}

/** What has happened that a failure may be due to. */
export interface History {
  readonly allowedFailures: number;
  /** How often a worker was lost while the task may have been executing there. */
  readonly deathsOf: (ref: number) => number;
  /** A worker was lost, an input was nowhere, or failed tasks were to run again. */
  readonly hasLosses: boolean;
}

/** A scattered value that waits for so long finds a worker. */
const PATIENT_MS = 3_600_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Knows every task of a scenario, its value, and which failures are its own fault. */
export class Oracle {
  readonly #specs = new Map<number, TaskSpec>();
  readonly #values = new Map<number, Uint8Array | null>();
  readonly #keyUses = new Map<string, number>();
  readonly #submits = new Map<number, number>();
  /** How long scattered values wait for a worker. */
  readonly #waitsMs = new Map<number, number>();
  /** Tasks that were submitted with a future that was not there. */
  readonly foreign: Set<number> = new Set();

  constructor(scenario: Scenario) {
    for (const { action } of scenario.ops) {
      if (action.kind === 'share') {
        for (const ref of action.refs) this.#count(ref, this.spec(ref).key);
      }
      if (action.kind !== 'submit' && action.kind !== 'scatter') continue;
      const { key, indexFrom, fn, options } =
        action.kind === 'submit' ? action : handedOver(action);
      const threads = options.resources.find(([name]) => name === 'threads')?.[1] ?? 1;
      for (const [index, task] of action.tasks.entries()) {
        const name = indexFrom === null ? key : `${key}-${indexFrom + index}`;
        this.#specs.set(task.ref, { ...task, key: name, blockKey: key, fn, options, threads });
        if (action.kind === 'scatter') this.#waitsMs.set(task.ref, action.timeoutMs);
        this.#count(task.ref, name);
      }
    }
  }

  /**
   * A task by its number in the scenario.
   *
   * @throws RangeError where there is none.
   */
  spec(ref: number): TaskSpec {
    const spec = this.#specs.get(ref);
    if (spec === undefined) throw new RangeError(`there is no task ${ref}`);
    return spec;
  }

  /** Arguments as they travel. They tell the function who it is. */
  encodeArguments(ref: number): Uint8Array {
    return encoder.encode(`task ${ref}`);
  }

  /** Who it is; undefined where these are not the arguments of any task. */
  decodeArguments(args: Uint8Array): TaskSpec | undefined {
    const text = decoder.decode(args);
    return text.startsWith('task ') ? this.#specs.get(Number(text.slice(5))) : undefined;
  }

  /** What the function makes of its inputs. */
  compute(spec: TaskSpec, inputs: readonly Uint8Array[]): Uint8Array {
    const hash = mix(spec.ref, spec.key, ...inputs.map(digest));
    const value = new Uint8Array(spec.sizeBytes).fill(hash & 0xff);
    for (let at = 0; at < value.byteLength; at += 257) value[at] = (hash >>> 8) + at;
    for (let at = 0; at < 4; at++) value[at] = hash >>> (8 * at);
    return value;
  }

  /** The right value; null where the task can only fail, or never ends. */
  value(ref: number): Uint8Array | null {
    const known = this.#values.get(ref);
    if (known !== undefined) return known;
    const value = this.#evaluate(ref);
    this.#values.set(ref, value);
    return value;
  }

  /** Whether it never ends, since it or something it needs hangs without a limit. */
  isEndless(ref: number): boolean {
    return this.#find(ref, ({ behaviour, options }) => {
      return behaviour.kind === 'hangs' && options.timeoutMs === null;
    });
  }

  /** Whether a key is submitted more than once. */
  isKeyContested(key: string): boolean {
    return (this.#keyUses.get(key) ?? 0) > 1;
  }

  /** Whether the scenario asks for the task once only, however often it comes to run. */
  isSubmittedOnce(ref: number): boolean {
    return this.#submits.get(ref) === 1;
  }

  /** Why a task must not have failed like this; null where it may have. */
  findFault(ref: number, why: Failure, history: History): string | null {
    const isFault = this.#find(ref, (spec) => {
      // A block of which one key is taken is refused as a whole.
      if (why.code === 'ERR_DUPLICATE_KEY') return this.#isContested(spec, why.origin);
      return spec.key === why.origin && this.#mayFail(spec, why, history);
    });
    return isFault ? null : `no task it needs may fail like that: ${why.code} ${why.message}`;
  }

  #mayFail(spec: TaskSpec, { code }: Failure, history: History): boolean {
    const { behaviour, options } = spec;
    const isWorthRetry = options.retryOn.length === 0 || options.retryOn.includes(code);
    const retries = isWorthRetry ? options.retries : 0;
    switch (code) {
      case 'ERR_TASK':
        if (behaviour.kind === 'flaky') return true;
        return behaviour.kind === 'throws' && behaviour.times > retries;
      case 'ERR_MEMORY_LIMIT':
        // With more memory it may end well, where a worker has that at the time.
        return behaviour.kind === 'hungry' && behaviour.bytes > grantedMemory(options.resources);
      case 'ERR_WORKER_CRASH':
        return behaviour.kind === 'crashes-slot' && behaviour.times > retries;
      case 'ERR_TASK_TIMEOUT':
        return (
          options.timeoutMs !== null &&
          (behaviour.kind === 'hangs' || spec.durationMs * 1.3 >= options.timeoutMs)
        );
      case 'ERR_KILLED_WORKER':
        if (!options.rerunOnLoss) return history.hasLosses;
        return history.deathsOf(spec.ref) > history.allowedFailures;
      case 'ERR_LOST_DATA':
        if (behaviour.kind === 'scattered') return history.hasLosses;
        // Whoever asks for it again may find that it has run and is given up.
        return !options.rerunOnLoss && (history.hasLosses || !this.isSubmittedOnce(spec.ref));
      case 'ERR_NO_WORKER':
        return behaviour.kind === 'scattered' && (this.#waitsMs.get(spec.ref) ?? 0) < PATIENT_MS;
      case 'ERR_FOREIGN_FUTURE':
        return this.foreign.has(spec.ref);
      default:
        return false;
    }
  }

  #isContested({ key, blockKey }: TaskSpec, origin: string): boolean {
    const isOfBlock = key === origin || origin.startsWith(`${blockKey}-`);
    return isOfBlock && this.isKeyContested(origin);
  }

  #count(ref: number, key: string): void {
    this.#submits.set(ref, (this.#submits.get(ref) ?? 0) + 1);
    this.#keyUses.set(key, (this.#keyUses.get(key) ?? 0) + 1);
  }

  #evaluate(ref: number): Uint8Array | null {
    const spec = this.spec(ref);
    const { behaviour } = spec;
    if (behaviour.kind === 'hangs') return null;
    if ('times' in behaviour && behaviour.times === Infinity) return null;
    if (behaviour.kind === 'hungry') {
      const { growMemory, resources } = spec.options;
      const most = growMemory === null ? grantedMemory(resources) : AMOUNT_MAX;
      if (behaviour.bytes > most) return null;
    }
    const inputs: Uint8Array[] = [];
    for (const dep of spec.deps) {
      const input = this.value(dep);
      if (input === null) return null;
      inputs.push(input);
    }
    return this.compute(spec, inputs);
  }

  /** Whether it or something it needs is such a task. */
  #find(ref: number, isSuch: (spec: TaskSpec) => boolean): boolean {
    const seen = new Set([ref]);
    for (const at of seen) {
      const spec = this.spec(at);
      if (isSuch(spec)) return true;
      for (const dep of spec.deps) seen.add(dep);
    }
    return false;
  }
}

/** What a value that was handed over has in place of a function. */
function handedOver({ key, indexFrom }: ScatterOp): Omit<SubmitOp, 'kind' | 'tasks'> {
  return { key, indexFrom, fn: 'scatter', options: taskOptions({}) };
}

/** Tells values apart without looking at every byte of large ones. */
function digest(bytes: Uint8Array): number {
  let hash = bytes.byteLength;
  const step = bytes.byteLength <= 128 ? 1 : 97;
  for (let at = 0; at < bytes.byteLength; at += step) {
    hash = Math.imul(hash ^ (bytes[at] ?? 0), 16777619);
  }
  return hash;
}
