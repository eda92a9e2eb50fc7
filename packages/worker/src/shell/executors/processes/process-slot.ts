import { type Failure, failure } from '@farm/protocol/core';

import {
  type ExecutorHandlers,
  type ExecutorRun,
  memoryAskedFor,
  type SchedulerContact,
} from '../executor.ts';
import type { ResultLimit } from '../result-limit.ts';
import type { GroupReaper } from '../commands/group-reaper.ts';
import { LineOutput } from '../threads/line-output.ts';
import { ABORT_GRACE_MS, ABORT_HEARD_MS, TIMER_MS_MAX } from '../threads/abort-times.ts';
import { packRuns } from '../threads/run-batch.ts';
import { RECORD_KINDS } from '../threads/run-lane.ts';
import {
  failureCode,
  type PackedFailure,
  type ThreadFunction,
  unpackFailure,
} from '../threads/thread-messages.ts';
import { memoryExceeded } from '../../task-memory/memory-exceeded.ts';
import type { TaskCgroups } from '../../task-memory/cgroups/task-cgroups.ts';
import type { WorkerBoundFrame } from './process-messages.ts';
import { type ProcessEnd, SlotProcess, type SlotProcessHandlers } from './slot-process.ts';

/** Unfinished lines of an idle slot wait this long: output comes apart from results. */
const FLUSH_MS = 20;

/** What a {@link ProcessSlot} needs to know. */
export interface ProcessSlotOptions {
  readonly slot: number;
  readonly workerName: string;
  readonly scheduler: SchedulerContact | undefined;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv | undefined;
  /** CPUs its process is bound to; undefined for none. */
  readonly cpus: string | undefined;
  readonly heapMegabytes: number | undefined;
  /** Undefined for no limit. */
  readonly resultLimit?: ResultLimit | undefined;
  readonly reaper: GroupReaper;
  readonly cgroups: TaskCgroups | undefined;
  readonly handlers: ExecutorHandlers;
  /** Finds a function; undefined where it is not known. */
  readonly lookUp: (
    fn: number,
  ) => { readonly name: string; readonly spec: ThreadFunction } | undefined;
}

interface GivenRun {
  readonly fn: number;
  readonly run: ExecutorRun;
}

type EndedFrame = Extract<WorkerBoundFrame, { say: 'ended' }>;

/** The run the process was given. */
interface Current {
  readonly run: ExecutorRun;
  timer: NodeJS.Timeout | undefined;
  /** It has looked at its signal. */
  isListening: boolean;
  /** How it is going to have ended, where it is to end. */
  why: Failure | undefined;
  /** It was asked to end, by its signal. */
  isAborting: boolean;
}

/**
 * One slot: the runs it was given and the process that executes them, one at a time. What the
 * process was not given yet can be taken back, so that is exact.
 */
export class ProcessSlot {
  readonly #options: ProcessSlotOptions;
  readonly #output: LineOutput;
  #process: SlotProcess | undefined;
  /** Variables of the devices that the runs of the process have; undefined before its first run. */
  #devices: string | undefined;
  /** Functions the process knows. */
  #known = new Set<number>();
  /** The process is held to what a run asked for. */
  #isLimited = false;
  #waiting: GivenRun[] = [];
  #current: Current | undefined;
  /** Runs that go on in the process without the slot. */
  readonly #seceded = new Map<number, Current>();
  #isEnding = false;
  #flushing: NodeJS.Timeout | undefined;
  #isClosed = false;
  #closed: (() => void) | undefined;

  constructor(options: ProcessSlotOptions) {
    this.#options = options;
    const { slot, handlers } = options;
    this.#output = new LineOutput((stream, text) => handlers.output(slot, stream, text));
  }

  /** The runs that have begun and not ended: at most one of them has the slot. */
  get executing(): readonly number[] {
    const waiting = [...this.#seceded.keys()];
    return this.#current === undefined ? waiting : [this.#current.run.run, ...waiting];
  }

  /** Resident memory of the process while it executes the run. */
  memoryBytes(run: number): number | undefined {
    return this.#current?.run.run === run ? this.#process?.memoryBytes() : undefined;
  }

  /** Starts the process, so that the first run need not wait for it. */
  warm(): SlotProcess {
    if (this.#process !== undefined) return this.#process;
    const handlers: SlotProcessHandlers = {
      said: (frame, body) => this.#said(frame, body),
      output: (stream, text) => {
        this.#output.take(stream, text);
        this.#flushSoon();
      },
      ended: (end) => this.#ended(end),
    };
    const { env = process.env } = this.#options;
    this.#process = new SlotProcess({ ...this.#options, env, handlers });
    return this.#process;
  }

  execute(fn: number, runs: readonly ExecutorRun[]): void {
    for (const run of runs) this.#waiting.push({ fn, run });
    this.#next();
  }

  /** A process that starts later has them from the worker. */
  setEnvironment(changes: Readonly<Record<string, string | null>>): void {
    this.#process?.post({ do: 'environment', changes });
  }

  forget(fns: readonly number[]): void {
    const known = fns.filter((fn) => this.#known.delete(fn));
    if (known.length > 0) this.#process?.post({ do: 'forget', fns: known });
  }

  withdraw(runs: readonly number[]): { withdrawn: number[]; started: number[] } {
    const asked = new Set(runs);
    const withdrawn: number[] = [];
    this.#waiting = this.#waiting.filter(({ run: { run } }) => {
      const isTaken = asked.delete(run);
      if (isTaken) withdrawn.push(run);
      return !isTaken;
    });
    return { withdrawn, started: [...asked] };
  }

  /**
   * Ends this run if it executes: by its signal where it has looked at that, and in any case by
   * killing the process.
   */
  interrupt(run: number, why: Failure): boolean {
    const seceded = this.#seceded.get(run);
    if (seceded !== undefined) {
      this.#abortSeceded(seceded, why);
      return true;
    }
    const current = this.#current;
    if (current?.run.run !== run) return false;
    if (current.why !== undefined) return true;
    current.why = why;
    clearTimeout(current.timer);
    if (current.isListening) {
      current.isAborting = true;
      this.#process?.post({ do: 'abort', run, code: why.code, message: why.message });
      current.timer = setTimeout(() => this.#kill(current), ABORT_HEARD_MS);
    } else this.#kill(current);
    return true;
  }

  /** Ends the process; nothing is reported any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#waiting = [];
    clearTimeout(this.#current?.timer);
    clearTimeout(this.#flushing);
    for (const { timer } of this.#seceded.values()) clearTimeout(timer);
    const running = this.#process;
    if (running === undefined) return;
    await new Promise<void>((closed) => {
      this.#closed = closed;
      running.kill();
    });
  }

  /** Asks a run without slot to end. It is not worth ending another run that has the process. */
  #abortSeceded(seceded: Current, why: Failure): void {
    if (seceded.why !== undefined) return;
    seceded.why = why;
    seceded.isAborting = true;
    clearTimeout(seceded.timer);
    const { run } = seceded.run;
    this.#process?.post({ do: 'abort', run, code: why.code, message: why.message });
    const look = (): void => {
      if (this.#current === undefined) this.#process?.kill();
      else seceded.timer = setTimeout(look, ABORT_HEARD_MS);
    };
    seceded.timer = setTimeout(look, ABORT_HEARD_MS);
  }

  /** A run without slot was told to end, and has not. */
  #abandon(seceded: Current): void {
    const { run } = seceded.run;
    this.#seceded.delete(run);
    this.#process?.post({ do: 'abandon', run });
    const nothing = { kind: RECORD_KINDS.value, durationUs: 0, cpuUs: null };
    this.#report(seceded, nothing, new Uint8Array());
  }

  #kill(current: Current): void {
    current.isAborting = false;
    this.#process?.kill();
  }

  /** Gives the process its next run. */
  #next(): void {
    if (this.#current !== undefined || this.#isEnding || this.#isClosed) return;
    const given = this.#waiting.shift();
    if (given === undefined) return;
    const { fn, run } = given;
    const { variables = [] } = run.devices ?? {};
    const devices = JSON.stringify(variables);
    if (this.#devices !== undefined && this.#devices !== devices && this.#seceded.size === 0) {
      // What a library found when it was loaded it does not look for again. But a run that waits in
      // the process would end with it: then variables alone have to do.
      this.#startAnewFor(given);
      return;
    }
    const isFresh = this.#process === undefined;
    const running = this.warm();
    if (!this.#limitMemory(running, run) && !isFresh && this.#seceded.size === 0) {
      // What earlier runs left in it is more than this one may take.
      this.#startAnewFor(given);
      return;
    }
    this.#devices = devices;
    const known = this.#options.lookUp(fn);
    if (known !== undefined && !this.#known.has(fn)) {
      running.post({ do: 'define', fn, ...known });
      this.#known.add(fn);
    }
    const { bytes, ends } = packRuns(fn, 0, [run]);
    const current: Current = {
      run,
      timer: undefined,
      isListening: false,
      why: undefined,
      isAborting: false,
    };
    this.#current = current;
    const { key, attempt, resources, devices: granted } = run;
    running.post(
      { do: 'run', run: run.run, fn, key, attempt, resources, devices: granted, ends: [...ends] },
      bytes,
    );
  }

  /** The run comes first in a process that is new. */
  #startAnewFor(given: GivenRun): void {
    this.#waiting.unshift(given);
    this.#isEnding = true;
    this.#process?.kill();
  }

  /** Holds the process to what the run asked for; false where it has more already. */
  #limitMemory({ cgroup }: SlotProcess, { run, resources }: ExecutorRun): boolean {
    const limitBytes = memoryAskedFor(resources) ?? Infinity;
    if (cgroup === undefined || (limitBytes === Infinity && !this.#isLimited)) return true;
    try {
      cgroup.limit(limitBytes);
    } catch {
      return false;
    }
    this.#isLimited = limitBytes !== Infinity;
    if (this.#isLimited) this.#options.cgroups?.share(run, cgroup);
    return true;
  }

  /** Why a run fails of whose processes some were killed for its memory; undefined where none was. */
  #whyExceeded(
    { key, resources }: ExecutorRun,
    peakBytes: number | undefined,
  ): Failure | undefined {
    const limitBytes = memoryAskedFor(resources);
    if (limitBytes === undefined || peakBytes === undefined) return undefined;
    return memoryExceeded({ key, workerName: this.#options.workerName, limitBytes, peakBytes });
  }

  #said(frame: Parameters<SlotProcessHandlers['said']>[0], body: Uint8Array): void {
    if (frame.say === 'harmed') {
      this.#retire();
      return;
    }
    const seceded = this.#seceded.get(frame.run);
    if (seceded !== undefined) {
      this.#secededSaid(seceded, frame, body);
      return;
    }
    const current = this.#current;
    if (current?.run.run !== frame.run) return;
    if (frame.say === 'started') this.#watchTime(current);
    else if (frame.say === 'listening') current.isListening = true;
    else if (frame.say === 'seceded') {
      this.#current = undefined;
      this.#seceded.set(frame.run, current);
      this.#options.cgroups?.unshare(frame.run);
      this.#options.handlers.seceded(this.#options.slot, frame.run);
      this.#next();
    } else if (frame.say === 'aborted') {
      if (!current.isAborting) return;
      clearTimeout(current.timer);
      current.timer = setTimeout(() => this.#kill(current), ABORT_GRACE_MS);
    } else {
      // Being killed already: the process takes nothing any more, and its end tells the rest.
      const isBeingKilled = current.why !== undefined && !current.isAborting;
      clearTimeout(current.timer);
      this.#current = undefined;
      this.#options.cgroups?.unshare(frame.run);
      const { cgroup } = this.#process ?? {};
      const peakBytes = cgroup?.wasExceeded === true ? cgroup.chargedBytesMax : undefined;
      const exceeded = this.#whyExceeded(current.run, peakBytes);
      if (isBeingKilled) this.#isEnding = true;
      if (frame.isHarmed) this.#retire();
      this.#report(current, frame, body, exceeded);
      this.#next();
    }
  }

  #secededSaid(
    seceded: Current,
    frame: Parameters<SlotProcessHandlers['said']>[0],
    body: Uint8Array,
  ): void {
    if (frame.say === 'aborted' && seceded.isAborting) {
      clearTimeout(seceded.timer);
      seceded.timer = setTimeout(() => this.#abandon(seceded), ABORT_GRACE_MS);
    } else if (frame.say === 'ended') {
      clearTimeout(seceded.timer);
      this.#seceded.delete(frame.run);
      if (frame.isHarmed) this.#retire();
      this.#report(seceded, frame, body);
    }
  }

  /** Starts the clock of a run with a time limit. */
  #watchTime(current: Current): void {
    const { run, key, timeoutMs } = current.run;
    if (timeoutMs === null || current.why !== undefined) return;
    const message = `${key}: ran longer than timeoutMs = ${timeoutMs}`;
    const why = failure('ERR_TASK_TIMEOUT', message, key, this.#options.workerName, null);
    current.timer = setTimeout(() => this.interrupt(run, why), Math.min(timeoutMs, TIMER_MS_MAX));
  }

  #report(
    current: Current,
    { kind, durationUs, cpuUs }: Pick<EndedFrame, 'kind' | 'durationUs' | 'cpuUs'>,
    bytes: Uint8Array,
    exceeded?: Failure,
  ): void {
    if (this.#isClosed) return;
    const { slot, handlers, workerName } = this.#options;
    const { run, key } = current.run;
    if (exceeded !== undefined) {
      // Whatever it made of that.
      handlers.erred(slot, run, exceeded, durationUs);
    } else if (current.isAborting && current.why !== undefined) {
      // It was told to end: what it ended with is too late.
      handlers.erred(slot, run, current.why, durationUs);
    } else if (kind === RECORD_KINDS.value) {
      handlers.ended(slot, [{ run, value: bytes, durationUs, cpuUs: cpuUs ?? undefined }]);
    } else {
      const { message, error, name } = unpackFailure(bytes);
      const code = failureCode(kind);
      const shown = code === 'ERR_TASK' ? message : `${key}: ${message}`;
      handlers.erred(slot, run, failure(code, shown, key, workerName, error, name), durationUs);
    }
    this.#flushSoon();
  }

  /** Replaces a process in which a task that has ended did harm. */
  #retire(): void {
    if (this.#current !== undefined || this.#seceded.size > 0 || this.#isEnding) return;
    this.#isEnding = true;
    this.#log('its process is replaced: a task that has ended did harm in it');
    this.#process?.kill();
  }

  #ended(end: ProcessEnd): void {
    clearTimeout(this.#flushing);
    this.#output.flush();
    const current = this.#current;
    clearTimeout(current?.timer);
    const wasEnding = this.#isEnding;
    this.#process = undefined;
    this.#devices = undefined;
    this.#isLimited = false;
    if (current !== undefined) this.#options.cgroups?.unshare(current.run.run);
    this.#known = new Set();
    this.#current = undefined;
    this.#isEnding = false;
    const lost = [...this.#seceded.values()];
    this.#seceded.clear();
    for (const { timer } of lost) clearTimeout(timer);
    if (this.#isClosed) {
      this.#closed?.();
      return;
    }
    for (const { run, why } of lost) {
      const { slot, handlers, workerName } = this.#options;
      const message = `${run.key}: the process it waited in ended, with another task`;
      const crash = failure('ERR_WORKER_CRASH', message, run.key, workerName, null);
      handlers.erred(slot, run.run, why ?? crash, 0);
    }
    if (current === undefined) {
      if (!wasEnding) this.#log(`its process ended between runs: ${end.text}`);
      this.#next();
      return;
    }
    const unstarted = this.#waiting.map(({ run: { run } }) => run);
    this.#waiting = [];
    const { slot, handlers } = this.#options;
    const exceeded = this.#whyExceeded(current.run, end.exceededBytes);
    const why = current.why ?? exceeded ?? this.#crash(end, current.run.key);
    handlers.emptied(slot, { run: current.run.run, failure: why }, unstarted);
  }

  #crash({ text, crash }: ProcessEnd, key: string): Failure {
    const message = `${key}: the process running it ended: ${text}`;
    const { error = null, name = null }: Partial<PackedFailure> = crash ?? {};
    return failure('ERR_WORKER_CRASH', message, key, this.#options.workerName, error, name);
  }

  #flushSoon(): void {
    if (this.#current !== undefined || this.#isClosed) return;
    clearTimeout(this.#flushing);
    this.#flushing = setTimeout(() => {
      if (this.#current === undefined) this.#output.flush();
    }, FLUSH_MS);
  }

  #log(text: string): void {
    const { slot, handlers } = this.#options;
    handlers.output(slot, 'stderr', `farm: slot ${slot}: ${text}\n`);
  }
}
