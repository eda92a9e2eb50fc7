import { type Failure, failure } from '@farm/protocol/core';
import { errorText } from '@farm/protocol/value';
import type { ResourceLimits } from 'node:worker_threads';

import type {
  ExecutorHandlers,
  ExecutorResult,
  ExecutorRun,
  SchedulerContact,
} from '../executor.ts';
import type { ResultLimit } from '../result-limit.ts';
import { ABORT_GRACE_MS, ABORT_HEARD_MS, TIMER_MS_MAX } from './abort-times.ts';
import { LineOutput } from './line-output.ts';
import { movedBuffers, packRuns, runBytes } from './run-batch.ts';
import { RECORD_KINDS } from './run-lane.ts';
import { RunWindow } from './run-window.ts';
import { SlotThread, type SlotThreadHandlers, type ThreadEnd } from './slot-thread.ts';
import { failureCode, type ThreadFunction, unpackFailure } from './thread-messages.ts';

/** Bytes of arguments and inputs a thread may have been given and not be done with. */
const POSTED_BYTES_MAX = 8_388_608;

/** What a {@link ThreadSlot} needs to know. */
export interface ThreadSlotOptions {
  readonly slot: number;
  readonly workerName: string;
  readonly scheduler: SchedulerContact | undefined;
  /** CPUs it is bound to; undefined for none. */
  readonly cpus: string | undefined;
  readonly resourceLimits: ResourceLimits | undefined;
  /** Undefined for no limit. */
  readonly resultLimit?: ResultLimit | undefined;
  /** Whether large results are to lie in files in memory. */
  readonly memoryFiles: boolean;
  readonly handlers: ExecutorHandlers;
  /** Finds a function; undefined where it is not known. */
  readonly lookUp: (
    fn: number,
  ) => { readonly name: string; readonly spec: ThreadFunction } | undefined;
}

/** Runs the thread has not been given yet, from `next` on. */
interface WaitingRuns {
  readonly fn: number;
  readonly runs: readonly ExecutorRun[];
  next: number;
}

interface Erred {
  readonly run: number;
  readonly failure: Failure;
  readonly durationUs: number;
}

/** A slot whose thread is being terminated for the sake of one run. */
interface Stopping {
  readonly run: number;
  readonly failure: Failure;
}

/** A run that was asked to end by its signal, and how it is going to have ended. */
interface Aborting extends Stopping {
  readonly sequence: number;
}

/** A run that goes on without the slot. */
interface Seceded {
  readonly run: ExecutorRun;
  /** How it is going to have ended, where it is to end. */
  why: Failure | undefined;
  timer: NodeJS.Timeout | undefined;
}

/** One slot: the runs it was given and the thread that executes them. */
export class ThreadSlot {
  readonly #options: ThreadSlotOptions;
  readonly #output: LineOutput;
  #thread: SlotThread | undefined;
  /** Functions the thread knows. */
  #known = new Set<number>();

  #waiting: WaitingRuns[] = [];
  /** Runs the thread was given. */
  #window = new RunWindow();

  #stopping: Stopping | undefined;
  #aborting: Aborting | undefined;
  #abortTimer: NodeJS.Timeout | undefined;
  #isRetiring = false;
  /** Runs that go on in the thread without the slot, by sequence number. */
  readonly #seceded = new Map<number, Seceded>();
  #isEmptying = false;
  #timer: NodeJS.Timeout | undefined;
  #timedRun: number | undefined;
  #isClosed = false;
  #closed: (() => void) | undefined;

  /** Ends that were drained and not reported yet; neighbours of a kind together. */
  #ends: (ExecutorResult[] | Erred)[] = [];

  constructor(options: ThreadSlotOptions) {
    this.#options = options;
    const { slot, handlers } = options;
    this.#output = new LineOutput((stream, text) => handlers.output(slot, stream, text));
  }

  /** Whether it has runs that have not ended. */
  get isBusy(): boolean {
    return this.#window.count > 0 || this.#waiting.length > 0 || this.#stopping !== undefined;
  }

  /** Starts the thread, so that the first run need not wait for it. */
  warm(): void {
    if (this.#thread !== undefined || this.#isClosed) return;
    try {
      const thread: SlotThread = new SlotThread(this.#options, {
        said: (message) => this.#said(message),
        ended: (end) => this.#threadEnded(end),
      });
      this.#thread = thread;
    } catch (error) {
      const crash = { message: errorText(error), error: null, name: null };
      setImmediate(() => this.#threadEnded({ exitCode: null, crash }));
    }
  }

  execute(fn: number, runs: readonly ExecutorRun[]): void {
    if (runs.length === 0) return;
    this.#waiting.push({ fn, runs, next: 0 });
    this.#post();
  }

  /** A thread that starts later has them from the worker. */
  setEnvironment(changes: Readonly<Record<string, string | null>>): void {
    this.#thread?.post({ do: 'environment', changes });
  }

  collect(): void {
    this.#thread?.post({ do: 'collect' });
  }

  forget(fns: readonly number[]): void {
    const known = fns.filter((fn) => this.#known.delete(fn));
    if (known.length > 0) this.#thread?.post({ do: 'forget', fns: known });
  }

  /** The runs that have begun and not ended: at most one of them has the slot. */
  get executing(): readonly number[] {
    const waiting = [...this.#seceded.values()].map(({ run }) => run.run);
    const executing = this.#executing();
    return executing === undefined ? waiting : [executing.run, ...waiting];
  }

  withdraw(runs: readonly number[]): { withdrawn: number[]; started: number[] } {
    const asked = new Set(runs);
    const withdrawn: number[] = [];
    const take = (run: number): void => {
      if (asked.delete(run)) withdrawn.push(run);
    };
    for (const [sequence, { run }] of this.#window.entries()) {
      if (asked.has(run) && this.#thread?.lane.withdraw(sequence) === true) {
        this.#window.remove(sequence);
        take(run);
      }
    }
    for (const waiting of this.#waiting) {
      const left = waiting.runs.slice(waiting.next);
      for (const run of left) take(run.run);
    }
    if (withdrawn.length > 0) {
      const gone = new Set(withdrawn);
      this.#waiting = this.#waiting.flatMap(({ fn, runs, next }) => {
        const left = runs.slice(next).filter((run) => !gone.has(run.run));
        return left.length === 0 ? [] : [{ fn, runs: left, next: 0 }];
      });
    }
    return { withdrawn, started: [...asked] };
  }

  /**
   * Ends this run if it executes: by its signal where it has looked at that, and in any case by
   * terminating the thread.
   */
  interrupt(run: number, why: Failure): boolean {
    const lane = this.#thread?.lane;
    if (this.#aborting?.run === run) return true;
    for (const [sequence, seceded] of this.#seceded) {
      if (seceded.run.run !== run) continue;
      this.#abortSeceded(sequence, seceded, why);
      return true;
    }
    if (lane !== undefined && this.#stopping === undefined && this.#executing()?.run === run) {
      const sequence = lane.cursor;
      if (lane.hasSignal(sequence) && this.#executing()?.run === run) {
        this.#abort({ run, sequence, failure: why });
        return true;
      }
    }
    return this.#terminate(run, why);
  }

  /** Asks a run to end, and terminates it if it does not. */
  #abort(aborting: Aborting): void {
    const { run, sequence, failure: why } = aborting;
    this.#aborting = aborting;
    this.#thread?.post({ do: 'abort', sequence, code: why.code, message: why.message });
    this.#abortTimer = setTimeout(() => this.#terminate(run, why), ABORT_HEARD_MS);
  }

  /** Asks a run without slot to end. It is not worth ending another run that has the thread. */
  #abortSeceded(sequence: number, seceded: Seceded, why: Failure): void {
    if (seceded.why !== undefined) return;
    seceded.why = why;
    clearTimeout(seceded.timer);
    this.#thread?.post({ do: 'abort', sequence, code: why.code, message: why.message });
    const look = (): void => {
      if (this.#executing() === undefined) this.#thread?.terminate();
      else seceded.timer = setTimeout(look, ABORT_HEARD_MS);
    };
    seceded.timer = setTimeout(look, ABORT_HEARD_MS);
  }

  /** A run was told: it has time to end by itself. */
  #aborted(sequence: number): void {
    const seceded = this.#seceded.get(sequence);
    if (seceded?.why !== undefined) {
      clearTimeout(seceded.timer);
      seceded.timer = setTimeout(() => {
        this.#thread?.post({ do: 'abandon', sequence });
        this.#endSeceded(sequence, RECORD_KINDS.value, 0, new Uint8Array());
        this.#report();
      }, ABORT_GRACE_MS);
      return;
    }
    if (this.#aborting?.sequence !== sequence) return;
    const { run, failure: why } = this.#aborting;
    clearTimeout(this.#abortTimer);
    this.#abortTimer = setTimeout(() => this.#terminate(run, why), ABORT_GRACE_MS);
  }

  #terminate(run: number, why: Failure): boolean {
    const thread = this.#thread;
    if (thread === undefined) return false;
    if (this.#stopping !== undefined) return this.#stopping.run === run;
    // Held, the thread cannot end this run and begin another one between the look and the end.
    thread.lane.hold();
    if (this.#executing()?.run !== run) {
      thread.lane.release();
      return false;
    }
    this.#stopping = { run, failure: why };
    thread.terminate();
    return true;
  }

  /** Memory of the thread while it executes the run. */
  async memoryBytes(run: number): Promise<number | undefined> {
    const thread = this.#thread;
    if (thread === undefined || this.#executing()?.run !== run) return undefined;
    try {
      const bytes = await thread.memoryBytes();
      return this.#executing()?.run === run ? bytes : undefined;
    } catch {
      // The thread ended meanwhile.
      return undefined;
    }
  }

  /** Takes what the thread has finished, reports it, and hands on what waits. */
  look(): void {
    this.#drain();
    this.#watchTime();
    this.#report();
    this.#post();
  }

  /** Ends the thread; nothing is reported any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#waiting = [];
    clearTimeout(this.#timer);
    clearTimeout(this.#abortTimer);
    for (const { timer } of this.#seceded.values()) clearTimeout(timer);
    const thread = this.#thread;
    if (thread === undefined) return;
    await new Promise<void>((closed) => {
      this.#closed = closed;
      thread.terminate();
    });
  }

  #said(message: Parameters<SlotThreadHandlers['said']>[0]): void {
    if (message === null) {
      this.look();
    } else if ('aborted' in message) {
      this.#aborted(message.aborted);
    } else if ('seceded' in message) {
      this.#secede(message.seceded);
    } else if ('retire' in message) {
      this.#isRetiring = true;
      this.#thread?.terminate();
    } else if ('stream' in message) {
      this.#thread?.lane.tookOutput(message.text.length);
      this.#output.take(message.stream, message.text);
    } else {
      const { sequence, kind, durationUs, bytes, cpuUs } = message;
      this.#take(sequence, kind, durationUs, bytes, cpuUs);
      this.look();
    }
  }

  #drain(): void {
    this.#thread?.lane.drain((sequence, kind, durationUs, bytes, cpuUs) => {
      this.#take(sequence, kind, durationUs, bytes, cpuUs);
    });
  }

  /** A run goes on without the slot. */
  #secede(sequence: number): void {
    this.#drain();
    this.#report();
    const run = this.#window.remove(sequence);
    if (run === undefined || this.#isClosed) return;
    const seceded: Seceded = { run, why: undefined, timer: undefined };
    this.#seceded.set(sequence, seceded);
    if (this.#timedRun === run.run) {
      seceded.timer = this.#timer;
      this.#timer = undefined;
      this.#timedRun = undefined;
    } else if (run.timeoutMs !== null) seceded.timer = this.#timeOut(run, run.timeoutMs);
    if (this.#aborting?.run === run.run) {
      seceded.why = this.#aborting.failure;
      clearTimeout(this.#abortTimer);
      this.#aborting = undefined;
      this.#aborted(sequence);
    }
    this.#options.handlers.seceded(this.#options.slot, run.run);
    this.look();
  }

  #endSeceded(sequence: number, kind: number, durationUs: number, bytes: Uint8Array): void {
    const seceded = this.#seceded.get(sequence);
    if (seceded === undefined) return;
    clearTimeout(seceded.timer);
    this.#seceded.delete(sequence);
    const { run, why } = seceded;
    if (why === undefined) this.#ended(run, kind, durationUs, bytes);
    else this.#ends.push({ run: run.run, failure: why, durationUs });
  }

  #take(
    sequence: number,
    kind: number,
    durationUs: number,
    bytes: Uint8Array,
    cpuUs: number | undefined,
  ): void {
    if (this.#seceded.has(sequence)) {
      this.#endSeceded(sequence, kind, durationUs, bytes);
      return;
    }
    const ended = this.#window.remove(sequence);
    if (ended === undefined) return;
    const { run } = ended;
    if (this.#aborting?.run === run) {
      // It was told to end: what it ended with is too late.
      this.#ends.push({ run, failure: this.#aborting.failure, durationUs });
      clearTimeout(this.#abortTimer);
      this.#aborting = undefined;
      return;
    }
    this.#ended(ended, kind, durationUs, bytes, cpuUs);
  }

  #ended(
    { run, key }: ExecutorRun,
    kind: number,
    durationUs: number,
    bytes: Uint8Array,
    cpuUs?: number,
  ): void {
    if (kind === RECORD_KINDS.value) {
      const last = this.#ends.at(-1);
      const result = { run, value: bytes, durationUs, cpuUs };
      if (Array.isArray(last)) last.push(result);
      else this.#ends.push([result]);
      return;
    }
    const { message, error, name } = unpackFailure(bytes);
    const code = failureCode(kind);
    const shown = code === 'ERR_TASK' ? message : `${key}: ${message}`;
    const why = failure(code, shown, key, this.#options.workerName, error, name);
    this.#ends.push({ run, failure: why, durationUs });
  }

  #report(): void {
    if (this.#ends.length === 0 || this.#isClosed) return;
    const ends = this.#ends;
    this.#ends = [];
    if (!this.isBusy) this.#output.flush();
    const { slot, handlers } = this.#options;
    for (const end of ends) {
      if (Array.isArray(end)) handlers.ended(slot, end);
      else handlers.erred(slot, end.run, end.failure, end.durationUs);
    }
  }

  /** Gives the thread as much of what waits as it has room for. */
  #post(): void {
    if (this.#stopping !== undefined || this.#isEmptying || this.#isClosed) return;
    if (this.#isRetiring) return;
    for (let head = this.#waiting[0]; head !== undefined; head = this.#waiting[0]) {
      this.warm();
      const thread = this.#thread;
      if (thread === undefined) return;
      const first = this.#window.next;
      const batch = this.#takeBatch(thread, head);
      if (batch.length === 0) return;
      this.#introduce(thread, head.fn);
      const message = packRuns(head.fn, first, batch, true);
      thread.post(message, movedBuffers(message));
      if (head.next === head.runs.length) this.#waiting.shift();
    }
  }

  /** Moves runs from what waits into the window, as many as there is room for. */
  #takeBatch(thread: SlotThread, head: WaitingRuns): readonly ExecutorRun[] {
    const room = this.#window.room(thread.lane.cursor);
    const from = head.next;
    while (head.next - from < room) {
      const run = head.runs[head.next];
      if (run === undefined) break;
      const bytes = runBytes(run);
      if (this.#window.count > 0 && this.#window.bytes + bytes > POSTED_BYTES_MAX) break;
      thread.lane.add(this.#window.next);
      this.#window.add(run, bytes);
      head.next++;
    }
    return head.next - from === head.runs.length ? head.runs : head.runs.slice(from, head.next);
  }

  /** Makes a function known to the thread. */
  #introduce(thread: SlotThread, fn: number): void {
    if (this.#known.has(fn)) return;
    const known = this.#options.lookUp(fn);
    if (known === undefined) return;
    thread.post({ do: 'define', fn, ...known });
    this.#known.add(fn);
  }

  #executing(): ExecutorRun | undefined {
    const lane = this.#thread?.lane;
    if (lane === undefined) return undefined;
    const sequence = lane.cursor;
    return lane.isExecuting(sequence) ? this.#window.get(sequence) : undefined;
  }

  /** Starts the clock of a run with a time limit when it is first seen executing. */
  #watchTime(): void {
    const executing = this.#executing();
    if (executing?.run === this.#timedRun) return;
    clearTimeout(this.#timer);
    this.#timedRun = undefined;
    if (executing === undefined || executing.timeoutMs === null) return;
    this.#timedRun = executing.run;
    this.#timer = this.#timeOut(executing, executing.timeoutMs);
  }

  #timeOut({ run, key }: ExecutorRun, timeoutMs: number): NodeJS.Timeout {
    return setTimeout(
      () => {
        const message = `${key}: ran longer than timeoutMs = ${timeoutMs}`;
        const { workerName } = this.#options;
        this.interrupt(run, failure('ERR_TASK_TIMEOUT', message, key, workerName, null));
      },
      Math.min(timeoutMs, TIMER_MS_MAX),
    );
  }

  #threadEnded(end: ThreadEnd): void {
    this.#drain();
    // Handlers may give further runs; until `emptied` is reported they only join the others.
    this.#isEmptying = true;
    this.#output.flush();
    this.#report();
    this.#failSeceded();
    const executing = this.#executing();
    const hasRun = this.#thread !== undefined && this.#thread.lane.cursor > 0;
    const unended = this.#unended();
    const stopping = this.#stopping ?? (executing === undefined ? undefined : this.#aborting);
    const isRetiring = this.#isRetiring;
    this.#reset();
    if (this.#isClosed) {
      this.#closed?.();
      return;
    }
    // Runs of a thread that never came to run any must not be tried for ever.
    const blamed = executing ?? (hasRun ? undefined : unended[0]);
    let failed: Parameters<ExecutorHandlers['emptied']>[1] = null;
    if (stopping !== undefined) {
      // Held, the thread began no other run, even where the state word of one says so.
      if (unended.some(({ run }) => run === stopping.run)) failed = stopping;
      if (end.exitCode === null) this.#log('its thread does not end and was left behind');
    } else if (blamed === undefined) {
      const why = isRetiring ? 'a task that has ended did harm in it' : endText(end);
      this.#log(`its thread ended between runs: ${why}`);
      if (unended.length === 0) return;
    } else {
      failed = { run: blamed.run, failure: this.#crash(end, blamed.key, executing !== undefined) };
    }
    const unstarted = unended.map(({ run }) => run).filter((run) => run !== failed?.run);
    const { slot, handlers } = this.#options;
    handlers.emptied(slot, failed, unstarted);
  }

  /** The thread is gone, and with it what went on there without the slot. */
  #failSeceded(): void {
    for (const { run, why, timer } of this.#seceded.values()) {
      clearTimeout(timer);
      const message = `${run.key}: the thread it waited in ended, with another task`;
      const { workerName } = this.#options;
      const lost = failure('ERR_WORKER_CRASH', message, run.key, workerName, null);
      const stopping = this.#stopping?.run === run.run ? this.#stopping.failure : undefined;
      this.#ends.push({ run: run.run, failure: why ?? stopping ?? lost, durationUs: 0 });
    }
    this.#seceded.clear();
    this.#report();
  }

  #unended(): ExecutorRun[] {
    const posted = this.#window.entries().map(([, run]) => run);
    return posted.concat(this.#waiting.flatMap(({ runs, next }) => runs.slice(next)));
  }

  #reset(): void {
    clearTimeout(this.#timer);
    this.#timedRun = undefined;
    this.#thread = undefined;
    this.#known = new Set();
    this.#waiting = [];
    this.#window = new RunWindow();
    this.#stopping = undefined;
    clearTimeout(this.#abortTimer);
    this.#aborting = undefined;
    this.#isRetiring = false;
    this.#isEmptying = false;
  }

  #crash(end: ThreadEnd, key: string, wasExecuting: boolean): Failure {
    const message = wasExecuting
      ? `${key}: the thread running it ended: ${endText(end)}`
      : `${key}: the thread to run it could not be started: ${endText(end)}`;
    const error = end.crash?.error ?? null;
    const name = end.crash?.name ?? null;
    return failure('ERR_WORKER_CRASH', message, key, this.#options.workerName, error, name);
  }

  #log(text: string): void {
    const { slot, handlers } = this.#options;
    handlers.output(slot, 'stderr', `farm: slot ${slot}: ${text}\n`);
  }
}

function endText({ exitCode, crash }: ThreadEnd): string {
  if (crash !== undefined) return crash.message;
  return `exit code ${exitCode}, as by process.exit(${exitCode})`;
}
