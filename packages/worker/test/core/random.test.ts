import {
  free,
  runDependency,
  stop,
  type ErrorCode,
  type GrantedPlaces,
  type ResourceAmounts,
  type RunDependency,
  type WorkerMessage,
} from '@farm/protocol/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import {
  memoryPolicy,
  WorkerCore,
  type GrantedDevices,
  type WorkerEvent,
} from '../../src/core/index.ts';
import { aFailure, aRun, defined, said } from './builders.ts';

/** Every value is large enough to be spilled, and a few of them are too many for the memory. */
/** Inputs of this size move with the run that needs them, where it is one. */
const BYTES = 16_777_216;
const LIMIT_BYTES = 3 * BYTES;
const DEVICES = [
  { name: 'GPU', ids: ['0', '1', '2'], amount: 2.5 },
  { name: 'FPGA', ids: ['a'], amount: 1 },
];
/** Mostly nothing, and amounts that contend for the devices. */
const RESOURCES: readonly ResourceAmounts[] = [
  [['GPU', 1]],
  [['GPU', 0.5]],
  [
    ['GPU', 0.3],
    ['MEM', 7],
  ],
  [
    ['GPU', 2],
    ['FPGA', 0.4],
  ],
  [['GPU', 2.5]],
  [['FPGA', 1]],
  [['MEM', 1]],
];

/** Grants devices as a scheduler may: those that are free, as far as the worker has said. */
class ModelGrants {
  readonly #free = new Map(DEVICES.map(({ name, ids, amount }) => [name, free10ths(ids, amount)]));
  readonly #held = new Map<number, () => void>();
  #heard = 0;

  /** What is granted to each of the runs; null where not all of it is free. */
  grant(runs: readonly number[], resources: ResourceAmounts): GrantedPlaces[] | null {
    const granted: GrantedPlaces[] = [];
    for (const run of runs) {
      const places = this.#take(run, resources);
      if (places === null) {
        for (const done of runs.slice(0, granted.length)) this.giveBack(done);
        return null;
      }
      granted.push(places);
    }
    return granted;
  }

  hear(messages: readonly WorkerMessage[]): void {
    for (const message of messages.slice(this.#heard)) {
      for (const run of endsIn(message)) this.giveBack(run);
    }
    this.#heard = messages.length;
  }

  giveBack(run: number): void {
    this.#held.get(run)?.();
    this.#held.delete(run);
  }

  #take(run: number, resources: ResourceAmounts): GrantedPlaces | null {
    const taken: (() => void)[] = [];
    const giveBack = (): void => {
      for (const one of taken) one();
    };
    const places: number[][] = [];
    for (const [name, amount] of resources) {
      const free = this.#free.get(name);
      const own: number[] = [];
      places.push(own);
      for (let left = free === undefined ? 0 : Math.round(amount * 10); left > 0;) {
        const share = Math.min(left, 10);
        const place = free?.findIndex((part, at) => part >= share && !own.includes(at)) ?? -1;
        if (free === undefined || place < 0) {
          giveBack();
          return null;
        }
        free[place] = (free[place] ?? 0) - share;
        taken.push(() => (free[place] = (free[place] ?? 0) + share));
        own.push(place);
        left -= share;
      }
    }
    this.#held.set(run, giveBack);
    return places;
  }
}

function free10ths(ids: readonly string[], amount: number): number[] {
  return ids.map((_, place) => Math.min(10, Math.round(amount * 10) - 10 * place));
}

/** Runs that a message says are over. */
function endsIn(message: WorkerMessage): readonly number[] {
  if (message.op === 'finished' || message.op === 'stopped') return message.runs;
  return message.op === 'run-failed' || message.op === 'input-missing' ? [message.run] : [];
}

/** Slots that do what a fair die says: a model of the shell's executors, store and peers. */
class ModelShell {
  readonly core: WorkerCore;
  readonly slots: { readonly runs: { readonly run: number; readonly task: number }[] }[];
  /** Where each value is: in memory, in a file, or both. */
  readonly store = new Map<number, { isInMemory: boolean; hasFile: boolean }>();
  readonly writing: { readonly task: number; readonly transfer: number }[] = [];
  readonly reading: { readonly task: number; readonly transfer: number }[] = [];
  readonly fetching: number[] = [];
  /** Runs that go on without a slot. */
  readonly seceded: { readonly run: number; readonly task: number }[] = [];
  readonly inbox: WorkerEvent[] = [];
  readonly said: WorkerMessage[] = [];
  nowMs = 0;

  constructor(nthreads: number) {
    const memory = memoryPolicy(LIMIT_BYTES);
    this.core = new WorkerCore({ nthreads, name: 'w', address: null, memory, devices: DEVICES });
    this.slots = Array.from({ length: nthreads }, () => ({ runs: [] }));
    this.inbox.push(defined(1), defined(2), defined(3));
    this.drain();
  }

  drain(): void {
    const instructions = this.core.handle(this.inbox.splice(0));
    this.core.validate();
    for (const instruction of instructions) {
      switch (instruction.do) {
        case 'to-scheduler':
          this.said.push(instruction.message);
          break;
        case 'execute': {
          const slot = this.slots[instruction.slot];
          for (const { run, task, inputs, moved, devices, resources } of instruction.runs) {
            expectGranted(devices, resources, run);
            for (const input of inputs) {
              expect(this.store.get(input)?.isInMemory, `input of ${run}`).toBe(true);
            }
            for (const input of moved ?? []) this.store.delete(input);
            slot?.runs.push({ run, task });
          }
          break;
        }
        case 'withdraw': {
          const runs = this.slots[instruction.slot]?.runs ?? [];
          const waiting = runs.slice(1).map(({ run }) => run);
          const withdrawn = instruction.runs.filter((run) => waiting.includes(run));
          const started = instruction.runs.filter((run) => !waiting.includes(run));
          runs.splice(0, runs.length, ...runs.filter(({ run }) => !withdrawn.includes(run)));
          const { slot } = instruction;
          this.inbox.push({ kind: 'runs-withdrawn', nowMs: this.nowMs, slot, withdrawn, started });
          break;
        }
        case 'interrupt':
          if (this.slots[instruction.slot]?.runs[0]?.run === instruction.run) {
            this.empty(instruction.slot);
          } else {
            const at = this.seceded.findIndex(({ run }) => run === instruction.run);
            const [told] = at < 0 ? [] : this.seceded.splice(at, 1);
            if (told !== undefined) this.fail(told.run, 'ERR_CANCELLED');
          }
          break;
        case 'keep':
          this.put(instruction.task);
          break;
        case 'drop':
          for (const task of instruction.tasks) {
            expect(this.store.delete(task), `${task} is in the store`).toBe(true);
          }
          break;
        case 'spill':
          this.writing.push(instruction);
          break;
        case 'evict': {
          const held = this.store.get(instruction.task);
          expect(held?.hasFile, `${instruction.task} has a file`).toBe(true);
          if (held !== undefined) held.isInMemory = false;
          break;
        }
        case 'load':
          expect(this.store.get(instruction.task)?.hasFile).toBe(true);
          this.reading.push(instruction);
          break;
        case 'fetch':
          this.fetching.push(instruction.task);
          break;
        default:
      }
    }
  }

  empty(slot: number): void {
    const [first, ...others] = this.slots[slot]?.runs.splice(0) ?? [];
    if (first === undefined) return;
    const failed = { run: first.run, failure: aFailure() };
    const unstarted = others.map(({ run }) => run);
    this.inbox.push({ kind: 'slot-emptied', nowMs: this.nowMs, slot, failed, unstarted });
  }

  /** The run that executes waits for others, and the slot goes on. */
  secede(slot: number): void {
    const run = this.slots[slot]?.runs.shift();
    if (run === undefined) return;
    this.seceded.push(run);
    this.inbox.push({ kind: 'run-seceded', nowMs: this.nowMs, run: run.run });
  }

  end(slot: number, count: number): void {
    this.#ended(this.slots[slot]?.runs.splice(0, count) ?? []);
  }

  endSeceded(position: number): void {
    this.#ended(this.seceded.splice(position % Math.max(1, this.seceded.length), 1));
  }

  #ended(ended: readonly { readonly run: number; readonly task: number }[]): void {
    for (const { task } of ended) this.put(task);
    this.inbox.push({
      kind: 'runs-ended',
      nowMs: this.nowMs,
      ended: ended.map(({ run }) => ({
        run,
        sizeBytes: BYTES,
        value: run % 2 === 0 ? new Uint8Array([run % 256]) : null,
        durationUs: (run * 7_919) % 3_000,
      })),
    });
  }

  err(slot: number): void {
    const run = this.slots[slot]?.runs.shift();
    if (run !== undefined) this.fail(run.run);
  }

  fail(run: number, code: ErrorCode = 'ERR_TASK'): void {
    const why = { ...aFailure(), code };
    this.inbox.push({ kind: 'run-erred', nowMs: this.nowMs, run, failure: why, durationUs: 1 });
  }

  put(task: number): void {
    this.store.set(task, { isInMemory: true, hasFile: false });
  }

  /** A file is written, or cannot be. What was dropped or replaced meanwhile is not reported. */
  write(isWritten: boolean): void {
    const next = this.writing.shift();
    const held = next === undefined ? undefined : this.store.get(next.task);
    if (next === undefined || held === undefined) return;
    const { nowMs } = this;
    if (isWritten) {
      held.hasFile = true;
      this.inbox.push({ kind: 'value-spilled', nowMs, ...next });
    } else this.inbox.push({ kind: 'spill-failed', nowMs, ...next, reason: 'ENOSPC' });
  }

  /** A file is read, or turns out to be damaged. */
  read(isSound: boolean): void {
    const next = this.reading.shift();
    const held = next === undefined ? undefined : this.store.get(next.task);
    if (next === undefined || held === undefined) return;
    const { nowMs } = this;
    if (isSound) {
      held.isInMemory = true;
      this.inbox.push({ kind: 'value-loaded', nowMs, ...next });
    } else this.inbox.push({ kind: 'value-lost', nowMs, task: next.task, reason: 'damaged' });
  }

  arrive(position: number, isThere: boolean): void {
    const [task] = this.fetching.splice(position % Math.max(1, this.fetching.length), 1);
    if (task === undefined) return;
    if (isThere) this.put(task);
    this.inbox.push(
      isThere
        ? { kind: 'input-fetched', nowMs: this.nowMs, task, sizeBytes: BYTES - (task % 2) }
        : { kind: 'input-failed', nowMs: this.nowMs, task, holders: [], reason: 'gone' },
    );
  }
}

/** Whole devices and at most one share: as many as the amount rounded up. */
function expectGranted(
  devices: GrantedDevices | null,
  resources: ResourceAmounts,
  run: number,
): void {
  for (const { name } of DEVICES) {
    const [, amount = 0] = resources.find((resource) => resource[0] === name) ?? [];
    const [, ids = []] = devices?.find((granted) => granted[0] === name) ?? [];
    expect(new Set(ids).size, `${name} of ${run}`).toBe(Math.ceil(amount));
  }
}

const step = fc.record({
  what: fc.constantFrom(
    'run',
    'end',
    'end',
    'err',
    'empty',
    'stop',
    'free',
    'arrive',
    'arrive',
    'arrive',
    'lose',
    'wake',
    'write',
    'write',
    'spoil',
    'read',
    'read',
    'damage',
    'memory',
    'secede',
    'secede',
    'end-seceded',
  ),
  a: fc.nat(1_000),
  b: fc.nat(1_000),
  isDrained: fc.boolean(),
});

/** Mostly runs that use each other's results, so that values are spilled and loaded. */
const dataStep = fc.record({
  what: fc.constantFrom(
    'run',
    'end',
    'end',
    'end',
    'write',
    'write',
    'read',
    'read',
    'read',
    'spoil',
    'damage',
    'memory',
    'empty',
    'free',
  ),
  a: fc.nat(1_000),
  b: fc.nat(1_000).map((b) => 2 * b),
  isDrained: fc.constantFrom(true, true, true, false),
});

test(
  'whatever happens, every run ends once, inputs are there, and nothing is left over',
  { timeout: 120_000 },
  () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.oneof(
          fc.array(step, { maxLength: 150 }),
          fc.array(dataStep, { minLength: 80, maxLength: 200 }),
        ),
        (nthreads, steps) => {
          const shell = new ModelShell(nthreads);
          const grants = new ModelGrants();
          let nextRun = 1;
          const inputs = (seed: number): readonly RunDependency[] =>
            Array.from({ length: seed % 4 }, (_, index) => {
              // Values of elsewhere, and results of runs here.
              const isOwn = (seed >> 3) % 2 === 0 && nextRun > 12;
              const task = isOwn
                ? Math.max(1, nextRun - 12 - (seed % 5) + index)
                : 1_000 + ((seed + index * index) % 6);
              const value = (seed + index) % 3 === 0 ? new Uint8Array([1]) : null;
              return runDependency(task, 9, [], value);
            });
          for (const { what, a, b, isDrained } of steps) {
            shell.nowMs += a % 20;
            const { nowMs } = shell;
            if (what === 'run') {
              const resources = RESOURCES[b % 29] ?? [];
              const count = resources.length === 0 ? 1 + (a % 12) : 1 + (a % 3);
              const runs = Array.from({ length: count }, () => nextRun++);
              grants.hear(shell.said);
              const devices = grants.grant(runs, resources);
              shell.inbox.push(
                said(
                  aRun(runs, {
                    fn: 1 + (b % 3),
                    dependencies: b % 2 === 0 ? runs.map((run) => inputs(run + b)) : null,
                    resources: devices === null ? [] : resources,
                    devices,
                    threads: b % 11 === 0 ? 1 + (a % nthreads) : 1,
                    timeoutMs: b % 7 === 0 ? 1_000 : null,
                    expectedUs: b % 5 === 0 ? null : b * 10,
                  }),
                  nowMs,
                ),
              );
            } else if (what === 'end') shell.end(a % nthreads, 1 + (b % 5));
            else if (what === 'err') shell.err(a % nthreads);
            else if (what === 'empty') shell.empty(a % nthreads);
            else if (what === 'secede') shell.secede(a % nthreads);
            else if (what === 'end-seceded') shell.endSeceded(a);
            else if (what === 'arrive') shell.arrive(a, true);
            else if (what === 'lose') shell.arrive(a, false);
            else if (what === 'wake') shell.inbox.push({ kind: 'woke', nowMs });
            else if (what === 'write') shell.write(true);
            else if (what === 'spoil') shell.write(false);
            else if (what === 'read') shell.read(true);
            else if (what === 'damage') shell.read(false);
            else if (what === 'memory') {
              // Mostly below what pauses it, so that there is something to do.
              const percent = b % 10 === 0 ? a % 100 : a % 75;
              const rssBytes = (LIMIT_BYTES * percent) / 100;
              const givenUpBytes = b % 3 === 0 ? (LIMIT_BYTES * (a % 50)) / 100 : 0;
              shell.inbox.push({ kind: 'memory-sampled', nowMs, rssBytes, givenUpBytes });
            } else if (what === 'free') {
              shell.inbox.push(said(free([1_000 + (a % 6), 1 + (b % nextRun)]), nowMs));
            } else {
              const runs = [1 + (a % nextRun), 1 + ((a + 1) % nextRun)];
              shell.inbox.push(said(stop([...new Set(runs)], b % 2 === 0), nowMs));
            }
            if (isDrained) shell.drain();
          }

          // Everything left comes to its end.
          const idle = { kind: 'memory-sampled', rssBytes: 0, givenUpBytes: 0 } as const;
          for (let round = 0; round < 10_000; round++) {
            shell.inbox.push({ ...idle, nowMs: shell.nowMs });
            shell.drain();
            for (const slot of shell.slots.keys()) shell.end(slot, 100);
            while (shell.seceded.length > 0) shell.endSeceded(0);
            while (shell.fetching.length > 0) shell.arrive(0, true);
            while (shell.writing.length > 0) shell.write(true);
            while (shell.reading.length > 0) shell.read(true);
            if (shell.core.counts().runs === 0 && shell.inbox.length === 0) break;
          }
          shell.drain();
          const ends: number[] = shell.said.flatMap(endsIn);
          expect(ends.toSorted((x, y) => x - y)).toEqual(
            Array.from({ length: nextRun - 1 }, (_, index) => index + 1),
          );
          shell.inbox.push(said(free([...shell.store.keys()]), shell.nowMs));
          shell.drain();
          expect(shell.core.counts()).toMatchObject({ runs: 0, ready: 0, slotted: 0, data: 0 });
          expect([...shell.store.keys()]).toEqual([]);
        },
      ),
      { numRuns: 150 },
    );
  },
);
