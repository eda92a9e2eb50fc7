import {
  acquireFailed,
  ask,
  cancel,
  clientHeartbeat,
  closeClient,
  defineFunction,
  failure,
  finished,
  holding,
  inputMissing,
  leaving,
  packU32,
  release,
  retry,
  scatter,
  runFailed,
  stopped,
  submit,
  taskOptions,
  workerHeartbeat,
} from '@farm/protocol/core';
import type {
  ClientBoundMessage,
  ClientHello,
  ClientMessage,
  Failure,
  Questions,
  ResourceAmounts,
  RunDependency,
  Scatter,
  TaskOptions,
  WorkerBoundMessage,
  WorkerHello,
  WorkerMessage,
} from '@farm/protocol/core';
import { SchedulerCore } from '@farm/scheduler/core';
import type { SchedulerConfig, SchedulerEvent, SchedulerInstruction } from '@farm/scheduler/core';
import { expect } from 'vitest';

/** Instructions other than messages. */
export type OtherInstruction = Exclude<
  SchedulerInstruction,
  { readonly do: 'to-client' | 'to-worker' | 'log' }
>;

/** A run as its worker was told of it. */
export interface ToldRun {
  readonly run: number;
  readonly task: number;
  readonly key: string;
  readonly args: string;
  readonly inputs: readonly RunDependency[];
  readonly attempt: number;
  readonly fn: number;
  readonly resources: ResourceAmounts;
}

const METRICS = {
  rssBytes: 0,
  storedBytes: 0,
  cpu: 0,
  loopLagMs: 0,
  executing: 0,
  queued: 0,
  spilledBytes: 0,
  paused: false,
} as const;

/** Bytes of a text. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Numbers in ascending order. */
export function sorted(numbers: Iterable<number>): number[] {
  return [...numbers].toSorted((a, b) => a - b);
}

/** Text of bytes. */
export function text(value: Uint8Array | null | undefined): string {
  return new TextDecoder().decode(value ?? new Uint8Array());
}

/** A failure of user code. */
export function userError(key: string, message = 'boom'): Failure {
  return failure('ERR_TASK', message, key, null, bytes(`error of ${key}`));
}

/** What a task fails by that took more memory than it asked for. */
export function memoryError(key: string): Failure {
  const message = `${key}: took more`;
  return failure('ERR_MEMORY_LIMIT', message, key, null, null, 'MemoryLimitExceeded');
}

/**
 * A scheduler core with clients and workers that say what the test tells them to. Every message is
 * copied on its way, as a wire would; everything is validated after every step.
 */
export class SchedulerHarness {
  readonly core: SchedulerCore;
  readonly clients = new Map<string, FakeClient>();
  readonly workers = new Map<string, FakeWorker>();
  readonly logs: string[] = [];
  nowMs = 1_000;
  readonly #others: OtherInstruction[] = [];

  constructor(config: Partial<SchedulerConfig> = {}) {
    this.core = new SchedulerCore({
      id: 'Scheduler-1',
      address: 'tcp://127.0.0.1:8786',
      startedMs: this.nowMs,
      ...config,
    });
  }

  /** Hands events to the core as one batch and delivers what it answers. */
  handle(...events: readonly SchedulerEvent[]): void {
    const instructions = this.core.handle(structuredClone(events));
    this.core.validate();
    for (const instruction of structuredClone(instructions)) this.#deliver(instruction);
  }

  /** A connected client. */
  client(session: string, options: Partial<ClientHello> = {}): FakeClient {
    const client = new FakeClient(this, session);
    this.clients.set(session, client);
    const hello = {
      op: 'hello',
      role: 'client',
      protocol: 1,
      version: '0',
      incarnation: session,
      name: session,
      ...options,
    } as const;
    this.handle({ kind: 'client-connected', nowMs: this.nowMs, client: session, hello });
    return client;
  }

  /** A connected worker. */
  worker(name: string, options: Partial<WorkerHello> = {}): FakeWorker {
    const worker = new FakeWorker(this, `${name}#${this.workers.size}`, name);
    this.workers.set(worker.session, worker);
    const hello: WorkerHello = {
      op: 'hello',
      role: 'worker',
      protocol: 1,
      version: '0',
      incarnation: worker.session,
      name,
      nthreads: 1,
      resources: [],
      memoryLimitBytes: null,
      address: `tcp://${name}:1`,
      host: `host-of-${name}`,
      pid: 1,
      localDirectory: '/tmp',
      nanny: false,
      ...options,
    };
    const event = { kind: 'worker-connected', nowMs: this.nowMs, worker: worker.session } as const;
    this.handle({ ...event, hello });
    return worker;
  }

  /** Time passes. */
  tick(ms: number): void {
    this.nowMs += ms;
    this.handle({ kind: 'tick', nowMs: this.nowMs });
  }

  /** Time passes, with a tick every half second. */
  ticks(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) this.tick(Math.min(500, endMs - this.nowMs));
  }

  /** Takes out the instructions that are neither messages nor logs. */
  others(): OtherInstruction[] {
    return this.#others.splice(0);
  }

  /** Nothing was said that no test step has taken. */
  expectNoMore(): void {
    for (const client of this.clients.values()) expect(client.take()).toEqual([]);
    for (const worker of this.workers.values()) expect(worker.take()).toEqual([]);
    expect(this.others()).toEqual([]);
  }

  /** No task, block, value or function is left. */
  expectEmpty(): void {
    expect(this.core.counts()).toEqual({
      released: 0,
      waiting: 0,
      queued: 0,
      'no-worker': 0,
      processing: 0,
      memory: 0,
      erred: 0,
      forgotten: 0,
    });
    const { blocks, functions, requirements, values, valueBytes } = this.core.statistics();
    expect({ blocks, functions, requirements, values, valueBytes }).toEqual({
      blocks: 0,
      functions: 0,
      requirements: 1,
      values: 0,
      valueBytes: 0,
    });
  }

  #deliver(instruction: SchedulerInstruction): void {
    switch (instruction.do) {
      case 'to-client':
        this.clients.get(instruction.client)?.hear(instruction.message);
        break;
      case 'to-worker':
        this.workers.get(instruction.worker)?.hear(instruction.message);
        break;
      case 'log':
        this.logs.push(instruction.message);
        break;
      default:
        this.#others.push(instruction);
    }
  }
}

/** What a test submits. */
export interface FakeSubmit {
  readonly key?: string;
  /** Makes it a block of so many tasks with indexed keys. */
  readonly count?: number;
  readonly fn?: string;
  /** Encoded arguments of each task. */
  readonly args?: readonly string[];
  /** Futures in the arguments of each task. */
  readonly deps?: readonly (readonly number[])[];
  readonly options?: Partial<TaskOptions>;
  /** Key of the task that submits it. */
  readonly parent?: string;
}

/** A client whose messages the test writes. */
export class FakeClient {
  readonly session: string;
  readonly #harness: SchedulerHarness;
  readonly #defined = new Set<string>();
  readonly #heard: ClientBoundMessage[] = [];
  /** What waits to be heard; null while it is connected. */
  #missed: ClientBoundMessage[] | null = null;
  #unsaid: ClientMessage[] = [];
  nextId = 0;
  nextRequest = 1_000;

  constructor(harness: SchedulerHarness, session: string) {
    this.#harness = harness;
    this.session = session;
  }

  /** Whether it has lost its socket. */
  get isCut(): boolean {
    return this.#missed !== null;
  }

  hear(message: ClientBoundMessage): void {
    (this.#missed ?? this.#heard).push(message);
  }

  /** Takes out what was heard. */
  take(): ClientBoundMessage[] {
    return this.#heard.splice(0);
  }

  /** Takes out what was heard of one kind, and forgets the rest. */
  taken<O extends ClientBoundMessage['op']>(op: O): Extract<ClientBoundMessage, { op: O }>[] {
    return this.take().filter(
      (message): message is Extract<ClientBoundMessage, { op: O }> => message.op === op,
    );
  }

  /** Results heard: text by id. Everything else heard is forgotten. */
  results(): Map<number, string> {
    const found = new Map<number, string>();
    for (const { ids, ends, values } of this.taken('results')) {
      for (const [at, id] of ids.entries()) {
        found.set(id, text(values.subarray(ends[at - 1] ?? 0, ends[at])));
      }
    }
    return found;
  }

  say(...messages: readonly ClientMessage[]): void {
    if (this.#missed !== null) {
      this.#unsaid.push(...messages);
      return;
    }
    const { nowMs } = this.#harness;
    const client = this.session;
    this.#harness.handle(
      ...messages.map((message) => ({ kind: 'client-said', nowMs, client, message }) as const),
    );
  }

  define(fn: string): void {
    if (this.#defined.has(fn)) return;
    this.#defined.add(fn);
    this.say(defineFunction(`hash-${fn}`, fn, bytes(`code of ${fn}`)));
  }

  /** Submits one task or block; returns the id of its first future. */
  submit(what: FakeSubmit = {}): number {
    const { count = 1, fn = 'f', options = {} } = what;
    this.define(fn);
    const first = this.nextId;
    this.nextId += count;
    const args = what.args ?? Array.from({ length: count }, (_, index) => `a${index}`);
    const depEnds = ends(what.deps?.map((deps) => deps.length) ?? []);
    this.say(
      submit({
        first,
        count,
        key: what.key ?? `${this.session}-key${first}`,
        indexFrom: what.count === undefined ? null : 0,
        fn: `hash-${fn}`,
        args: bytes(args.join('')),
        argEndsColumn: packU32(ends(args.map((arg) => bytes(arg).byteLength))),
        depsColumn: what.deps === undefined ? null : packU32(what.deps.flat()),
        depEndsColumn: what.deps === undefined ? null : packU32(depEnds),
        options: taskOptions(options),
        parent: what.parent ?? null,
      }),
    );
    return first;
  }

  /** Hands values over; returns the id of the first. */
  scatter(values: readonly string[], options: Partial<Scatter> = {}): number {
    const first = this.nextId;
    this.nextId += values.length;
    this.say(
      scatter({
        first,
        count: values.length,
        key: `${this.session}-value${first}`,
        indexFrom: values.length === 1 ? null : 0,
        values: bytes(values.join('')),
        endsColumn: packU32(ends(values.map((value) => bytes(value).byteLength))),
        workers: [],
        copies: 1,
        timeoutMs: 1_000,
        ...options,
      }),
    );
    return first;
  }

  /** Asks a question; returns its number. */
  ask<M extends keyof Questions>(method: M, params: Questions[M]['params']): number {
    const request = this.nextRequest++;
    this.say(ask(request, method, params));
    return request;
  }

  /** Takes out the answer to a question; undefined while there is none. The rest is forgotten. */
  answer(request: number): unknown {
    return this.taken('reply').find((message) => message.request === request)?.answer;
  }

  release(...ids: readonly number[]): void {
    this.say(release(ids.flatMap((id) => [id, 1])));
  }

  cancel(...ids: readonly number[]): void {
    this.say(
      cancel(
        ids.flatMap((id) => [id, 1]),
        'no longer needed',
      ),
    );
  }

  retry(...ids: readonly number[]): void {
    this.say(retry(ids));
  }

  beat(): void {
    this.say(clientHeartbeat());
  }

  close(): void {
    this.say(closeClient());
  }

  lose(reason = 'connection closed'): void {
    const { nowMs } = this.#harness;
    this.#harness.handle({ kind: 'client-lost', nowMs, client: this.session, reason });
  }

  /** Its socket is gone. What it says from now on waits, as does what is said to it. */
  cut(reason = 'socket closed'): void {
    const { nowMs } = this.#harness;
    this.#harness.handle({ kind: 'client-away', nowMs, client: this.session, reason });
    this.#missed = [];
    this.#unsaid = [];
  }

  /** It has a socket again: everything that waited arrives. */
  mend(): void {
    const { nowMs } = this.#harness;
    const [missed, unsaid] = [this.#missed ?? [], this.#unsaid];
    this.#missed = null;
    this.#harness.handle({ kind: 'client-back', nowMs, client: this.session });
    this.#heard.unshift(...missed);
    if (unsaid.length > 0) this.say(...unsaid);
  }
}

/** A worker whose messages the test writes. It remembers the runs it was told and not stopped. */
export class FakeWorker {
  readonly session: string;
  readonly name: string;
  readonly #harness: SchedulerHarness;
  readonly #heard: WorkerBoundMessage[] = [];
  /** What waits to be heard; null while it is connected. */
  #missed: WorkerBoundMessage[] | null = null;
  #unsaid: WorkerMessage[] = [];
  /** Runs told and neither ended nor stopped, in order. */
  runs: ToldRun[] = [];
  /** Runs it was told to stop and has not answered. */
  stopping: number[] = [];
  /** Those of them that it may keep if they have started. */
  readonly keepable = new Set<number>();
  /** Tasks whose values it was given to keep, and has not said to hold. */
  given: number[] = [];
  /** Tasks whose results it was told to fetch, and has not answered. */
  acquiring: number[] = [];
  readonly functions = new Set<number>();
  /** Tasks whose results it holds. */
  readonly data = new Set<number>();

  constructor(harness: SchedulerHarness, session: string, name: string) {
    this.#harness = harness;
    this.session = session;
    this.name = name;
  }

  /** Whether it has lost its socket. */
  get isCut(): boolean {
    return this.#missed !== null;
  }

  /** Its socket is gone. What it says from now on waits, as does what is said to it. */
  cut(reason = 'socket closed'): void {
    const { nowMs } = this.#harness;
    this.#harness.handle({ kind: 'worker-away', nowMs, worker: this.session, reason });
    this.#missed = [];
    this.#unsaid = [];
  }

  /** It has a socket again: everything that waited arrives. */
  mend(): void {
    const { nowMs } = this.#harness;
    const [missed, unsaid] = [this.#missed ?? [], this.#unsaid];
    this.#missed = null;
    this.#harness.handle({ kind: 'worker-back', nowMs, worker: this.session });
    // What was said while it was away comes before what its return brought about.
    const later = this.#heard.splice(0);
    for (const message of missed) this.hear(message);
    this.#heard.push(...later);
    if (unsaid.length > 0) this.say(...unsaid);
  }

  hear(message: WorkerBoundMessage): void {
    if (this.#missed !== null) {
      this.#missed.push(message);
      return;
    }
    this.#heard.push(message);
    switch (message.op) {
      case 'define-worker-function':
        this.functions.add(message.fn);
        break;
      case 'forget-functions':
        for (const fn of message.fns) expect(this.functions.delete(fn)).toBe(true);
        break;
      case 'run':
        expect(this.functions.has(message.fn), 'the function is defined first').toBe(true);
        for (const [at, run] of message.runs.entries()) {
          const index = message.indices?.[at];
          this.runs.push({
            run,
            task: message.tasks[at] ?? -1,
            key: index === undefined ? message.key : `${message.key}-${index}`,
            args: text(message.args.subarray(message.ends[at - 1] ?? 0, message.ends[at])),
            inputs: message.dependencies?.[at] ?? [],
            attempt: message.attempts?.[at] ?? 1,
            fn: message.fn,
            resources: message.resources,
          });
        }
        break;
      case 'free':
        for (const task of message.tasks) this.data.delete(task);
        break;
      case 'stop':
        this.stopping.push(...message.runs);
        for (const run of message.runs) {
          if (message.running) this.keepable.delete(run);
          else this.keepable.add(run);
        }
        break;
      case 'put-data':
        this.given.push(...message.tasks);
        break;
      case 'acquire':
        this.acquiring.push(message.task);
        break;
      case 'get-data':
      case 'data-failed':
      case 'close-worker':
      case 'restart-worker':
      case 'set-plugin':
        break;
      default:
        message satisfies never;
    }
  }

  /** Takes out what was heard. */
  take(): WorkerBoundMessage[] {
    return this.#heard.splice(0);
  }

  /** Takes out what was heard of one kind, and forgets the rest. */
  taken<O extends WorkerBoundMessage['op']>(op: O): Extract<WorkerBoundMessage, { op: O }>[] {
    return this.take().filter(
      (message): message is Extract<WorkerBoundMessage, { op: O }> => message.op === op,
    );
  }

  /** Keys of the runs it was told. */
  keys(): string[] {
    return this.runs.map(({ key }) => key);
  }

  say(...messages: readonly WorkerMessage[]): void {
    if (this.#missed !== null) {
      this.#unsaid.push(...messages);
      return;
    }
    const { nowMs } = this.#harness;
    const worker = this.session;
    this.#harness.handle(
      ...messages.map((message) => ({ kind: 'worker-said', nowMs, worker, message }) as const),
    );
  }

  /** The run of a key, or the oldest, taken off the list. */
  pull(key?: string): ToldRun {
    const at = key === undefined ? 0 : this.runs.findIndex((run) => run.key === key);
    const [run] = this.runs.splice(at, 1);
    if (run === undefined || at < 0) throw new Error(`${this.name} has no run of ${key ?? 'any'}`);
    return run;
  }

  /** Runs of these keys end well, in one message; without keys all. Values are inline. */
  finish(results: Readonly<Record<string, string>> | 'all' = 'all', durationUs = 1_000): void {
    const runs =
      results === 'all' ? this.runs.splice(0) : Object.keys(results).map((key) => this.pull(key));
    const values = runs.map(({ key }) => (results === 'all' ? `r(${key})` : (results[key] ?? '')));
    for (const { task } of runs) this.data.add(task);
    this.say(
      finished({
        runs: runs.map(({ run }) => run),
        sizes: values.map((value) => bytes(value).byteLength),
        values: bytes(values.join('')),
        ends: ends(values.map((value) => bytes(value).byteLength)),
        durationsUs: runs.map(() => durationUs),
      }),
    );
  }

  /** The run of a key ends well with a result too large to travel along. */
  finishLarge(key: string, size: number, durationUs = 1_000): void {
    const { run, task } = this.pull(key);
    this.data.add(task);
    this.finishRun(run, size, durationUs);
  }

  /** Reports a run by number, known or not. */
  finishRun(run: number, size = 1_000_000, durationUs = 1_000): void {
    const values = new Uint8Array();
    this.say(
      finished({ runs: [run], sizes: [size], values, ends: [0], durationsUs: [durationUs] }),
    );
  }

  fail(key: string, why: Failure = userError(key)): void {
    this.say(runFailed(this.pull(key).run, why, 1_000));
  }

  /** Answers stop messages: those that may be kept are, whether running or over. */
  keepRuns(): void {
    const kept = this.stopping.filter((run) => this.keepable.has(run));
    this.stopping = this.stopping.filter((run) => !this.keepable.has(run));
    this.keepable.clear();
    if (kept.length > 0) this.say(stopped([], kept));
  }

  /** Answers stop messages: the runs are gone. */
  answerStops(): void {
    const runs = this.stopping.splice(0);
    this.runs = this.runs.filter(({ run }) => !runs.includes(run));
    this.say(stopped(runs, []));
  }

  beat(...executing: readonly number[]): void {
    this.say(workerHeartbeat(METRICS, executing));
  }

  hold(...tasks: readonly number[]): void {
    for (const task of tasks) this.data.add(task);
    this.say(holding(tasks));
  }

  /** It holds what it was given, and what it was told to fetch. */
  takeIn(): void {
    this.hold(...this.given.splice(0), ...this.acquiring.splice(0));
  }

  /** It cannot fetch what it was told to. */
  failToAcquire(): void {
    this.say(...this.acquiring.splice(0).map((task) => acquireFailed(task, ['tcp://peer:1'])));
  }

  missInput(key: string, task: number, holders: readonly string[]): void {
    this.say(inputMissing(this.pull(key).run, task, holders));
  }

  leave(): void {
    this.say(leaving('retired'));
  }

  lose(reason = 'connection closed'): void {
    const { nowMs } = this.#harness;
    this.runs = [];
    this.#harness.handle({ kind: 'worker-lost', nowMs, worker: this.session, reason });
  }
}

/** Resources of a hello or of options. */
export function amounts(resources: Readonly<Record<string, number>>): ResourceAmounts {
  return Object.entries(resources);
}

function ends(lengths: readonly number[]): number[] {
  let end = 0;
  return lengths.map((length) => (end += length));
}
