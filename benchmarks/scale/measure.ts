/**
 * The core alone, told what was recorded: `measure.ts FILE TASKS` prints a {@link Measured} as JSON.
 */
import { GCProfiler } from 'node:v8';

import { SchedulerCore } from '@farm/scheduler/core';

import { playRecording } from './recording.ts';

/** What one process measured. */
export interface Measured {
  /** Microseconds of CPU time a task inside the core, of each wave. */
  readonly us: readonly number[];
  /** Microseconds of garbage collection a task, inside the core and while messages are decoded. */
  readonly gcUs: number;
  /** Bytes of heap a task, right after all are submitted and all garbage is collected. */
  readonly heapPerTask: number;
}

const [path = '', tasksText = '1'] = process.argv.slice(2);
const tasks = Number(tasksText);
const core = new SchedulerCore({ id: 'scale', address: 'virtual', startedMs: 0 });
const us: number[] = [];
const gcUs: number[] = [];
let idleBytes = 0;
let heapBytes = 0;
let insideMs = 0;
let pausedMs = 0;
let pausedCpuMs = 0;
let startMs = 0;
let startCpuMs = 0;
let collections: GCProfiler | undefined;

playRecording(path, {
  handle: (events, expected) => {
    const fromMs = performance.now();
    const { length } = core.handle(events);
    insideMs += performance.now() - fromMs;
    if (length !== expected) throw new Error(`${length} instructions, and ${expected} before`);
  },
  mark: (mark) => {
    if (mark === 'wave-begins') {
      idleBytes = heapUsed();
      insideMs = 0;
      pausedMs = 0;
      pausedCpuMs = 0;
      collections = new GCProfiler();
      collections.start();
      startCpuMs = cpuMs();
      startMs = performance.now();
    } else if (mark === 'submitted') {
      if (collections === undefined || us.length > 0) return;
      // Taken out of the first wave: the collection that is asked for here.
      const fromMs = performance.now();
      const fromCpuMs = cpuMs();
      heapBytes = heapUsed() - idleBytes;
      pausedMs += performance.now() - fromMs;
      pausedCpuMs += cpuMs() - fromCpuMs;
    } else {
      // Of what this thread got of a processor, the core's part is its part of the time.
      const spentMs = cpuMs() - startCpuMs - pausedCpuMs;
      us.push((insideMs / (performance.now() - startMs - pausedMs)) * spentMs * (1_000 / tasks));
      const found = collections?.stop()?.statistics ?? [];
      gcUs.push(found.reduce((sum, { cost }) => sum + cost, 0) / tasks);
    }
  },
});
const { length } = [...us];
const measured: Measured = {
  us,
  gcUs: Math.min(...gcUs.slice(length > 1 ? 1 : 0)),
  heapPerTask: heapBytes / tasks,
};
console.log(JSON.stringify(measured));

function cpuMs(): number {
  const usage = process.threadCpuUsage?.();
  if (usage === undefined) throw new Error('Node 23.9 or newer tells what a thread took');
  return (usage.user + usage.system) / 1_000;
}

function heapUsed(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
