import {
  free,
  runDependency,
  stop,
  type RunDependency,
  type WorkerMessage,
} from '@farm/protocol/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { WorkerCore, type WorkerEvent } from '../../src/core/index.ts';
import { aFailure, aRun, defined, said } from './builders.ts';

/** Slots that do what a fair die says: a model of the shell's executors, store and peers. */
class ModelShell {
  readonly core: WorkerCore;
  readonly slots: { readonly runs: { readonly run: number; readonly task: number }[] }[];
  readonly store = new Set<number>();
  readonly fetching: number[] = [];
  readonly inbox: WorkerEvent[] = [];
  readonly said: WorkerMessage[] = [];
  nowMs = 0;

  constructor(nthreads: number) {
    this.core = new WorkerCore({ nthreads, name: 'w', address: null });
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
          for (const { run, task, inputs } of instruction.runs) {
            for (const input of inputs) expect(this.store, `input of ${run}`).toContain(input);
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
          }
          break;
        case 'keep':
          this.store.add(instruction.task);
          break;
        case 'drop':
          for (const task of instruction.tasks) {
            expect(this.store.delete(task), `${task} is in the store`).toBe(true);
          }
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

  end(slot: number, count: number): void {
    const ended = this.slots[slot]?.runs.splice(0, count) ?? [];
    for (const { task } of ended) this.store.add(task);
    this.inbox.push({
      kind: 'runs-ended',
      nowMs: this.nowMs,
      ended: ended.map(({ run }) => ({
        run,
        sizeBytes: 9,
        value: run % 2 === 0 ? new Uint8Array([run % 256]) : null,
        durationUs: (run * 7_919) % 3_000,
      })),
    });
  }

  err(slot: number): void {
    const run = this.slots[slot]?.runs.shift();
    if (run === undefined) return;
    const why = aFailure();
    this.inbox.push({
      kind: 'run-erred',
      nowMs: this.nowMs,
      run: run.run,
      failure: why,
      durationUs: 1,
    });
  }

  arrive(position: number, isThere: boolean): void {
    const [task] = this.fetching.splice(position % Math.max(1, this.fetching.length), 1);
    if (task === undefined) return;
    if (isThere) this.store.add(task);
    this.inbox.push(
      isThere
        ? { kind: 'input-fetched', nowMs: this.nowMs, task, sizeBytes: 9 }
        : { kind: 'input-failed', nowMs: this.nowMs, task, holders: [], reason: 'gone' },
    );
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
    'lose',
    'wake',
  ),
  a: fc.nat(1_000),
  b: fc.nat(1_000),
  isDrained: fc.boolean(),
});

test('whatever happens, every run ends once, inputs are there, and nothing is left over', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.array(step, { maxLength: 150 }),
      (nthreads, steps) => {
        const shell = new ModelShell(nthreads);
        let nextRun = 1;
        const inputs = (seed: number): readonly RunDependency[] =>
          Array.from({ length: seed % 4 }, (_, index) => {
            const task = 1_000 + ((seed + index * index) % 6);
            const value = (seed + index) % 3 === 0 ? new Uint8Array([1]) : null;
            return runDependency(task, 9, [], value);
          });
        for (const { what, a, b, isDrained } of steps) {
          shell.nowMs += a % 20;
          const { nowMs } = shell;
          if (what === 'run') {
            const runs = Array.from({ length: 1 + (a % 12) }, () => nextRun++);
            shell.inbox.push(
              said(
                aRun(runs, {
                  fn: 1 + (b % 3),
                  dependencies: b % 2 === 0 ? runs.map((run) => inputs(run + b)) : null,
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
          else if (what === 'arrive') shell.arrive(a, true);
          else if (what === 'lose') shell.arrive(a, false);
          else if (what === 'wake') shell.inbox.push({ kind: 'woke', nowMs });
          else if (what === 'free') {
            shell.inbox.push(said(free([1_000 + (a % 6), 1 + (b % nextRun)]), nowMs));
          } else {
            const runs = [1 + (a % nextRun), 1 + ((a + 1) % nextRun)];
            shell.inbox.push(said(stop([...new Set(runs)], b % 2 === 0), nowMs));
          }
          if (isDrained) shell.drain();
        }

        // Everything left comes to its end.
        for (let round = 0; round < 10_000; round++) {
          shell.drain();
          for (const slot of shell.slots.keys()) shell.end(slot, 100);
          while (shell.fetching.length > 0) shell.arrive(0, true);
          if (shell.core.counts().runs === 0 && shell.inbox.length === 0) break;
        }
        shell.drain();
        const ends: number[] = shell.said.flatMap((message) => {
          if (message.op === 'finished' || message.op === 'stopped') return message.runs;
          return message.op === 'run-failed' || message.op === 'input-missing' ? [message.run] : [];
        });
        expect(ends.toSorted((x, y) => x - y)).toEqual(
          Array.from({ length: nextRun - 1 }, (_, index) => index + 1),
        );
        shell.inbox.push(said(free([...shell.store]), shell.nowMs));
        shell.drain();
        expect(shell.core.counts()).toMatchObject({ runs: 0, ready: 0, slotted: 0, data: 0 });
        expect([...shell.store]).toEqual([]);
      },
    ),
    { numRuns: 150 },
  );
});
