import type { WorkerBoundMessage, WorkerMessage } from '@farm/protocol/core';
import { LIMITS } from '@farm/protocol/core';
import { WorkerCore } from '@farm/worker/core';
import type { SlotRun, WorkerEvent, WorkerInstruction } from '@farm/worker/core';

import type { Clock } from '../../sim/clock.ts';

/** Inputs brought over at once, as in production. */
const FETCHES_MAX = 50;
const HEARTBEAT_MS = 500;
/** From one run to the next in a slot, and from an event to the core, milliseconds. */
const SLOT_MS = 0.01;
const LOOP_MS = 0.02;

const INLINE_VALUE = new Uint8Array(LIMITS.inlineValueBytesMax);

/** What surrounds a {@link VirtualWorker}. */
export interface VirtualWorkerOptions {
  readonly clock: Clock;
  readonly name: string;
  readonly say: (message: WorkerMessage) => void;
  /** Brings bytes from whoever is at the address. */
  readonly bring: (address: string, bytes: number, done: () => void) => void;
  /** Milliseconds that a run takes, and bytes of its result. */
  readonly durationMsOf: (run: SlotRun) => number;
  readonly resultBytes: number;
}

/** A worker with one slot: the production core; slot, fetches and store take virtual time. */
export class VirtualWorker {
  readonly #options: VirtualWorkerOptions;
  readonly #core: WorkerCore;
  #events: WorkerEvent[] = [];
  #isDue = false;
  #waiting: SlotRun[] = [];
  #executing: SlotRun | null = null;
  readonly #fetches: (() => void)[] = [];
  #fetching = 0;
  /** Milliseconds its slot was in use. */
  busyMs = 0;

  constructor(options: VirtualWorkerOptions) {
    this.#options = options;
    this.#core = new WorkerCore({ nthreads: 1, name: options.name, address: options.name });
    this.#beat();
  }

  /** The scheduler says something. */
  hear(message: WorkerBoundMessage): void {
    this.#post({ kind: 'scheduler-said', nowMs: this.#options.clock.nowMs, message });
  }

  #beat(): void {
    const { clock } = this.#options;
    const executing = this.#executing === null ? 0 : 1;
    const metrics = {
      rssBytes: 0,
      storedBytes: 0,
      spilledBytes: 0,
      paused: false,
      cpu: 1,
      loopLagMs: 0,
      executing,
      queued: Math.max(0, this.#core.counts().runs - executing),
    };
    this.#post({ kind: 'heartbeat-due', nowMs: clock.nowMs, metrics });
    clock.after(HEARTBEAT_MS, () => this.#beat());
  }

  #post(event: WorkerEvent): void {
    this.#events.push(event);
    if (this.#isDue) return;
    this.#isDue = true;
    this.#options.clock.after(LOOP_MS, () => {
      this.#isDue = false;
      const events = this.#events;
      this.#events = [];
      for (const instruction of this.#core.handle(events)) this.#perform(instruction);
    });
  }

  #perform(instruction: WorkerInstruction): void {
    const { clock, say, bring } = this.#options;
    switch (instruction.do) {
      case 'to-scheduler':
        say(instruction.message);
        break;
      case 'execute':
        this.#waiting.push(...instruction.runs);
        this.#next();
        break;
      case 'withdraw': {
        const { slot, runs } = instruction;
        const waiting = new Set(this.#waiting.map(({ run }) => run));
        const withdrawn = runs.filter((run) => waiting.has(run));
        const started = runs.filter((run) => !waiting.has(run));
        this.#waiting = this.#waiting.filter(({ run }) => !withdrawn.includes(run));
        this.#post({ kind: 'runs-withdrawn', nowMs: clock.nowMs, slot, withdrawn, started });
        break;
      }
      case 'fetch': {
        const { task, sizeBytes, holders } = instruction;
        const [holder] = holders;
        if (holder === undefined) throw new Error(`nobody holds task ${task}`);
        this.#fetches.push(() => {
          bring(holder, sizeBytes, () => {
            this.#fetching -= 1;
            this.#post({ kind: 'input-fetched', nowMs: clock.nowMs, task, sizeBytes });
            this.#fetchMore();
          });
        });
        this.#fetchMore();
        break;
      }
      case 'wake':
        clock.after(instruction.afterMs, () => this.#post({ kind: 'woke', nowMs: clock.nowMs }));
        break;
      case 'interrupt':
      case 'exit':
      case 'spill':
      case 'load':
      case 'evict':
      case 'collect':
        throw new Error(`nobody asked for ${instruction.do}`);
      case 'keep':
      case 'drop':
      case 'define':
      case 'forget':
      case 'log':
        break;
      default:
        instruction satisfies never;
    }
  }

  #fetchMore(): void {
    while (this.#fetching < FETCHES_MAX) {
      const fetch = this.#fetches.shift();
      if (fetch === undefined) return;
      this.#fetching += 1;
      fetch();
    }
  }

  #next(): void {
    if (this.#executing !== null) return;
    const run = this.#waiting.shift();
    if (run === undefined) return;
    const { clock, durationMsOf, resultBytes: sizeBytes } = this.#options;
    const durationMs = durationMsOf(run);
    this.#executing = run;
    this.busyMs += durationMs;
    clock.after(durationMs + SLOT_MS, () => {
      this.#executing = null;
      const value =
        sizeBytes <= LIMITS.inlineValueBytesMax ? INLINE_VALUE.subarray(0, sizeBytes) : null;
      const durationUs = Math.round(durationMs * 1000);
      const ended = [{ run: run.run, sizeBytes, value, durationUs }];
      this.#post({ kind: 'runs-ended', nowMs: clock.nowMs, ended });
      this.#next();
    });
  }
}
