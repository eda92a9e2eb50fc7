import type { ResourceAmounts, Run, WorkerMessage } from '@farm/protocol/core';

import type {
  SchedulerEvent,
  SchedulerInstruction,
} from '../../packages/scheduler/src/core/index.ts';
import { check } from '../failure.ts';
import { grantedMemory, MEMORY, memoryOf } from '../growing-memory.ts';
import type { Oracle, TaskSpec } from '../oracle.ts';
import { checkDevices, DEVICES, devicesAskedFor, placesOf } from './devices.ts';

/** Messages that only take from a worker. */
const TAKING: ReadonlySet<string> = new Set(['stop', 'free', 'forget-functions']);

/** One run as the scheduler sees it. */
interface RunRecord {
  readonly run: number;
  readonly task: number;
  readonly spec: TaskSpec;
  /** What it takes of its worker's resources. */
  readonly granted: ResourceAmounts;
  readonly session: SessionRecord;
  /** The scheduler has said `stop`, whether it runs or not. */
  isGivenUp: boolean;
  /** The worker was asked for it in case it has not begun, and has not answered. */
  isAskedFor: boolean;
  /** The worker has said that it executes it; its thread may still be starting. */
  isSaidToExecute: boolean;
  /** The worker has said that it takes no slot any more. */
  hasSeceded: boolean;
  /** Places of its devices. */
  readonly devices: readonly number[];
}

/** What the checker asks of others. */
export interface AssignmentContext {
  readonly oracle: Oracle;
  /** Whether a run has begun to execute. */
  readonly hasStarted: (run: number) => boolean;
  /** Whether no client asks for it to run again once it has failed. */
  readonly isFailureFinal: (ref: number) => boolean;
}

interface SessionRecord {
  readonly name: string;
  readonly nthreads: number;
  readonly resources: ReadonlyMap<string, number>;
  readonly runs: Map<number, RunRecord>;
  readonly host: string;
  readonly address: string | null;
  readonly functions: Set<number>;
  /** It was told to close. */
  isTold: boolean;
  /** Why, where nothing is to be lost with it: it was retired, and has made nothing since. */
  isEmptied: boolean;
  /** It has lost its socket, and is waited for. */
  isAway: boolean;
  /** It said that it leaves. */
  isLeaving: boolean;
  /** It said that it is short of memory. */
  isPaused: boolean;
}

/** What became of the last run of a task. */
interface TaskRecord {
  readonly key: string;
  /** The run that counts; null where there is none. */
  current: RunRecord | null;
  /** A second one, on another worker, since the first takes long; whichever ends well first counts. */
  copy: RunRecord | null;
  /** It ended well, and nothing has happened since that could make it run again. */
  isDone: boolean;
  /** Sessions that have it. */
  readonly holders: Set<SessionRecord>;
  /** Runs that failed. */
  failures: number;
  /** What its last run was granted; 0 before the first. */
  memory: number;
  /** What its last run was granted that took more memory; null where that was not the last to fail. */
  tooLittle: number | null;
  /** Losses that had been when it last failed. */
  lossesAtFailure: number;
  /** It waits between two attempts, until this time of the checker's clock. */
  notBeforeMs: number;
}

/**
 * What the scheduler assigns: each run once, one that counts for each task, again only for a
 * reason, never above a worker's capacity, and workers know the functions (I3, I4, I6).
 */
export class AssignmentChecker {
  readonly #context: AssignmentContext;
  readonly #sessions = new Map<string, SessionRecord>();
  readonly #tasks = new Map<number, TaskRecord>();
  readonly #deaths = new Map<number, number>();
  readonly #known = new Set<number>();
  readonly #overInBatch = new Map<number, RunRecord>();
  readonly #awayClients = new Set<string>();
  #losses = 0;
  #copies = 0;
  #growths = 0;
  /** In this batch. */
  #isRetireAsked = false;
  /** Time that passed by the scheduler's clock, which may be set back. */
  #elapsedMs = 0;
  #clockMs: number | null = null;

  constructor(context: AssignmentContext) {
    this.#context = context;
  }

  /** Workers lost so far, and inputs that were nowhere. */
  get losses(): number {
    return this.#losses;
  }

  /** Second runs begun beside slow ones. */
  get copies(): number {
    return this.#copies;
  }

  /** Runs begun with more memory than the one before. */
  get growths(): number {
    return this.#growths;
  }

  /** Runs assigned so far. */
  get runs(): number {
    return this.#known.size;
  }

  /** How often a worker was lost while the task may have been executing there. */
  deathsOf(ref: number): number {
    return this.#deaths.get(ref) ?? 0;
  }

  /** The key of a run that is not over; undefined for others. */
  keyOfRun(session: string, run: number): string | undefined {
    return this.#sessions.get(session)?.runs.get(run)?.spec.key;
  }

  /** Keys of the tasks assigned to a worker, and of those whose results it holds. */
  keysOn(worker: string): readonly string[] {
    const session = this.#sessions.get(worker);
    if (session === undefined) return [];
    const keys = [...session.runs.values()].map(({ spec }) => spec.key);
    for (const { holders, key } of this.#tasks.values()) if (holders.has(session)) keys.push(key);
    return keys;
  }

  /** Numbers of the tasks that have run under each key. */
  numbersByKey(): ReadonlyMap<string, readonly number[]> {
    const numbers = new Map<string, number[]>();
    for (const [number, { key }] of this.#tasks) {
      const known = numbers.get(key);
      if (known === undefined) numbers.set(key, [number]);
      else known.push(number);
    }
    return numbers;
  }

  /** The key of a task by the scheduler's number; undefined where it never ran. */
  keyOfTask(task: number): string | undefined {
    return this.#tasks.get(task)?.key;
  }

  /** The scheduler is about to hear a batch. */
  beginBatch(): void {
    this.#overInBatch.clear();
    this.#isRetireAsked = false;
  }

  /** The scheduler is about to hear this. */
  event(event: SchedulerEvent): void {
    this.#elapsedMs += Math.max(0, event.nowMs - (this.#clockMs ?? event.nowMs));
    this.#clockMs = event.nowMs;
    if (event.kind === 'worker-connected') {
      const { hello } = event;
      this.#sessions.set(event.worker, {
        name: hello.name,
        nthreads: hello.nthreads,
        resources: new Map([...hello.resources, [MEMORY, memoryOf(hello)]]),
        runs: new Map(),
        host: hello.host,
        address: hello.address,
        functions: new Set(),
        isTold: false,
        isEmptied: false,
        isAway: false,
        isLeaving: false,
        isPaused: false,
      });
    } else if (event.kind === 'worker-lost') this.#lost(event.worker);
    else if (event.kind === 'worker-away' || event.kind === 'worker-back') {
      const session = this.#sessions.get(event.worker);
      if (session !== undefined) session.isAway = event.kind === 'worker-away';
    } else if (event.kind === 'client-said') {
      const { message } = event;
      if (message.op === 'ask' && message.method === 'retire-workers') this.#isRetireAsked = true;
    } else if (event.kind === 'client-away') this.#awayClients.add(event.client);
    else if (event.kind === 'client-back') this.#awayClients.delete(event.client);
    else if (event.kind === 'worker-said') {
      const session = this.#sessions.get(event.worker);
      if (session !== undefined) this.#heard(session, event.message);
    }
  }

  /** The scheduler asks for all this. What ends comes before what begins, whoever it is said to. */
  instructions(all: readonly SchedulerInstruction[]): void {
    const begins = (instruction: SchedulerInstruction): boolean => {
      return instruction.do === 'to-worker' && instruction.message.op === 'run';
    };
    for (const instruction of all) if (!begins(instruction)) this.#instruction(instruction);
    for (const instruction of all) if (begins(instruction)) this.#instruction(instruction);
  }

  #instruction(instruction: SchedulerInstruction): void {
    if (instruction.do === 'drop-client') {
      // Clients here keep to the protocol: only one that does not come back is sent away.
      const isAway = this.#awayClients.has(instruction.client);
      check(isAway, 'messages', `a client is sent away: ${instruction.reason}`);
      this.#awayClients.delete(instruction.client);
    }
    // Its lease is over, or its name has come back: its runs and results count as lost.
    if (instruction.do === 'drop-worker') this.#lost(instruction.worker);
    if (instruction.do !== 'to-worker') return;
    const { message } = instruction;
    const session = this.#sessions.get(instruction.worker);
    if (session === undefined) return;
    // What it has counts until it is gone, and may be taken from it; nothing is given to it.
    const mayFollow = !session.isTold || TAKING.has(message.op);
    check(mayFollow, 'messages', `${session.name} was told to close, and then ${message.op}`);
    switch (message.op) {
      case 'run':
        this.#assigned(session, message);
        break;
      case 'stop':
        for (const run of message.runs) {
          const record = session.runs.get(run) ?? this.#overInBatch.get(run);
          check(record !== undefined, 'assignments', `stop of run ${run}, which is over`);
          check(!record.isGivenUp, 'assignments', `run ${run} is stopped twice`);
          if (message.running) {
            // Also where it was asked for: what was to be moved may be given up meanwhile.
            record.isGivenUp = true;
            this.#giveUp(record);
            continue;
          }
          // It counts until the worker has given it up, and what is over cannot be moved; a worker
          // that is to retire is asked before the rest of the batch is heard.
          const isHere = session.runs.has(run) || this.#isRetireAsked;
          check(isHere, 'assignments', `run ${run} is asked for and is over`);
          // Whoever is to retire is asked for all it has.
          const mayBeIdle = !record.isSaidToExecute || this.#isRetireAsked;
          check(mayBeIdle, 'assignments', `run ${run} is asked for, and is said to execute`);
          const isNew = !record.isAskedFor || this.#isRetireAsked;
          check(isNew, 'assignments', `run ${run} is asked for twice`);
          record.isAskedFor = true;
        }
        break;
      case 'free':
        for (const number of message.tasks) {
          const task = this.#tasks.get(number);
          task?.holders.delete(session);
          if (task !== undefined) task.isDone = false;
        }
        break;
      case 'define-worker-function':
        session.functions.add(message.fn);
        break;
      case 'forget-functions':
        for (const fn of message.fns) session.functions.delete(fn);
        break;
      case 'close-worker':
        session.isTold = true;
        session.isEmptied = message.reason === 'it was retired';
        break;
      default:
    }
  }

  #assigned(session: SessionRecord, message: Run): void {
    check(session.functions.has(message.fn), 'messages', `run of unknown function ${message.fn}`);
    for (const [index, run] of message.runs.entries()) {
      const number = message.tasks[index] ?? -1;
      const start = message.ends[index - 1] ?? 0;
      const spec = this.#context.oracle.decodeArguments(
        message.args.subarray(start, message.ends[index]),
      );
      check(spec !== undefined, 'assignments', `run ${run} has arguments of no task`);
      check(!this.#known.has(run), 'assignments', `run ${run} is assigned twice`);
      this.#known.add(run);
      const at = message.indices?.[index];
      const key = at === undefined ? message.key : `${message.key}-${at}`;
      check(key === spec.key, 'assignments', `run ${run} of ${spec.key} is called ${key}`);
      const task = this.#tasks.get(number) ?? newTask(key);
      const { current } = task;
      const isCopy = current !== null && mayCopy(task, session);
      check(
        current === null || isCopy,
        'assignments',
        `${key} is assigned again (run ${run}) while run ${current?.run} counts`,
      );
      check(!task.isDone, 'assignments', `${key} runs again (run ${run}) though it is done`);
      this.#checkMemory(task, spec, message.resources);
      check(
        // Where nobody wanted it any more, it begins anew for what was lost since and needs it.
        task.failures <= spec.options.retries ||
          this.#losses > task.lossesAtFailure ||
          !this.#context.isFailureFinal(spec.ref),
        'assignments',
        `${key} runs again (run ${run}) after ${task.failures} failures`,
      );
      check(
        this.#elapsedMs + 1 >= task.notBeforeMs || !this.#context.isFailureFinal(spec.ref),
        'assignments',
        `${key} runs again ${task.notBeforeMs - this.#elapsedMs} ms too early`,
      );
      checkPlace(session, spec);
      const record = {
        run,
        task: number,
        spec,
        granted: message.resources,
        session,
        isGivenUp: false,
        isAskedFor: false,
        isSaidToExecute: false,
        hasSeceded: false,
        devices: placesOf(message, index),
      };
      if (isCopy) {
        task.copy = record;
        this.#copies += 1;
      } else task.current = record;
      this.#tasks.set(number, task);
      session.runs.set(run, record);
    }
    this.#checkCapacity(session);
  }

  /** It asks for what it did, or for more once it took all of that; which is no retry. */
  #checkMemory(task: TaskRecord, { key, options, ref }: TaskSpec, granted: ResourceAmounts): void {
    const asked = grantedMemory(options.resources);
    const bytes = grantedMemory(granted);
    const { tooLittle } = task;
    const { growMemory } = options;
    const most = growMemory === null ? asked : (tooLittle ?? task.memory) * growMemory;
    // Once it has failed for good it may begin anew.
    const least = this.#context.isFailureFinal(ref) && this.#losses === 0 ? task.memory : asked;
    check(
      bytes >= Math.max(asked, least) && bytes <= Math.max(asked, most),
      'capacity',
      `${key} is granted ${bytes} of memory, and asked for ${asked}; it had ${task.memory}`,
    );
    task.memory = bytes;
    task.tooLittle = null;
    if (tooLittle === null || bytes <= tooLittle) return;
    task.failures -= 1;
    task.notBeforeMs = 0;
    this.#growths += 1;
  }

  /** What needs more than one slot is never sent ahead, so its sums hold at any time. */
  #checkCapacity({ name, runs, nthreads, resources }: SessionRecord): void {
    const used = new Map<string, number>();
    for (const { spec, granted, hasSeceded } of runs.values()) {
      if (spec.options.resources.length === 0) continue;
      if (!hasSeceded) used.set('threads', (used.get('threads') ?? 0) + spec.threads);
      for (const [resource, amount] of granted) {
        if (resource !== 'threads') used.set(resource, (used.get(resource) ?? 0) + amount);
      }
    }
    for (const [resource, amount] of used) {
      const capacity = resource === 'threads' ? nthreads : (resources.get(resource) ?? 0);
      check(
        amount <= capacity + 1e-9,
        'capacity',
        `${name} is assigned ${amount} of ${resource} and has ${capacity}`,
      );
    }
    checkDevices(
      name,
      resources.get(DEVICES) ?? 0,
      [...runs.values()].map(({ spec, devices }) => [devicesAskedFor(spec), devices]),
    );
  }

  #heard(session: SessionRecord, message: WorkerMessage): void {
    switch (message.op) {
      case 'finished':
        session.isEmptied = false;
        for (const run of message.runs) {
          const record = this.#end(session, run);
          if (record === undefined || record.isGivenUp) continue;
          const task = this.#tasks.get(record.task);
          if (task === undefined) continue;
          task.current = null;
          task.copy = null;
          task.isDone = true;
          task.holders.add(session);
        }
        break;
      case 'run-failed': {
        const record = session.runs.get(message.run);
        const task = record?.isGivenUp === false ? this.#tasks.get(record.task) : undefined;
        // Where another run goes on, this one was nothing.
        if (task !== undefined && record !== undefined && task.copy === null) {
          const { retryDelayMs } = record.spec.options;
          task.notBeforeMs = this.#elapsedMs + retryDelayMs * 2 ** task.failures;
          task.failures += 1;
          const isHungry = message.failure.code === 'ERR_MEMORY_LIMIT';
          task.tooLittle = isHungry ? grantedMemory(record.granted) : null;
          task.lossesAtFailure = this.#losses;
        }
        this.#endForAgain(session, message.run);
        break;
      }
      case 'seceded':
        for (const run of message.runs) {
          const record = session.runs.get(run);
          if (record !== undefined) record.hasSeceded = true;
        }
        break;
      case 'leaving':
        session.isLeaving = true;
        break;
      case 'lost':
        this.#losses += 1;
        for (const number of message.tasks) {
          const task = this.#tasks.get(number);
          if (task?.holders.delete(session) === true) task.isDone = false;
        }
        break;
      case 'worker-heartbeat':
        session.isPaused = message.metrics.paused;
        for (const run of message.executing) {
          const record = session.runs.get(run);
          if (record !== undefined) record.isSaidToExecute = true;
        }
        break;
      case 'stopped':
        for (const run of message.runs) this.#endForAgain(session, run);
        for (const run of message.kept) {
          const record = session.runs.get(run);
          if (record !== undefined) record.isAskedFor = false;
        }
        break;
      case 'input-missing': {
        this.#losses += 1;
        this.#endForAgain(session, message.run);
        const input = this.#tasks.get(message.task);
        if (input !== undefined) input.isDone = false;
        break;
      }
      default:
    }
  }

  #end(session: SessionRecord, run: number): RunRecord | undefined {
    const record = session.runs.get(run);
    session.runs.delete(run);
    // It may have been given up by what came just before the report.
    if (record !== undefined) this.#overInBatch.set(run, record);
    return record;
  }

  #endForAgain(session: SessionRecord, run: number): void {
    const record = this.#end(session, run);
    if (record !== undefined) this.#giveUp(record);
  }

  #giveUp(record: RunRecord): void {
    const task = this.#tasks.get(record.task);
    if (task === undefined) return;
    if (task.copy === record) task.copy = null;
    else if (task.current === record) {
      task.current = task.copy;
      task.copy = null;
    }
  }

  #lost(worker: string): void {
    const session = this.#sessions.get(worker);
    if (session === undefined) return;
    // What only a retired worker held was copied before it was told to close.
    if (!session.isEmptied || session.runs.size > 0) this.#losses += 1;
    this.#sessions.delete(worker);
    let threads = 0;
    // In the order in which they were assigned, whatever messages they were put into.
    const runs = [...session.runs.values()].toSorted((a, b) => a.run - b.run);
    for (const record of runs) {
      const { ref } = record.spec;
      // What has not begun, as far as anybody can know, cannot have done it.
      const isExecuting = record.isSaidToExecute || this.#context.hasStarted(record.run);
      const mayExecute = isExecuting || threads < session.nthreads;
      if (mayExecute && !session.isLeaving) this.#deaths.set(ref, this.deathsOf(ref) + 1);
      if (!record.hasSeceded) threads += record.spec.threads;
      this.#giveUp(record);
    }
    for (const task of this.#tasks.values()) {
      if (task.holders.delete(session)) task.isDone = false;
    }
  }
}

/** Whether a second run may begin there: beside one that executes, where the client asks for it. */
function mayCopy({ current, copy }: TaskRecord, session: SessionRecord): boolean {
  if (current === null || copy !== null || current.session === session) return false;
  return current.spec.options.speculate !== null && current.isSaidToExecute;
}

function newTask(key: string): TaskRecord {
  return {
    key,
    current: null,
    copy: null,
    isDone: false,
    holders: new Set(),
    failures: 0,
    memory: 0,
    tooLittle: null,
    lossesAtFailure: 0,
    notBeforeMs: 0,
  };
}

/** A task runs only where its restriction allows, on a worker that has what it needs. */
function checkPlace(session: SessionRecord, { key, options }: TaskSpec): void {
  const { name, host, address } = session;
  const { workers, allowOtherWorkers } = options;
  const isNamed = workers.some(
    (wanted) => wanted === name || wanted === host || wanted === address,
  );
  const isAllowed = workers.length === 0 || allowOtherWorkers || isNamed;
  check(isAllowed, 'restrictions', `${key} may not run on ${name}, only on ${workers.join(', ')}`);
  check(!session.isLeaving, 'assignments', `${key} is assigned to ${name}, which leaves`);
  check(!session.isAway, 'assignments', `${key} is assigned to ${name}, which is away`);
  check(!session.isPaused, 'assignments', `${key} is assigned to ${name}, which is paused`);
}
