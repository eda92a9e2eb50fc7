/**
 * Measures the scheduler core alone: time in `handle` and memory for a map of trivial tasks on
 * workers (two, of one thread, unless said otherwise) that answer at once with small inline values.
 *
 * node --conditions=@farm/source --expose-gc packages/scheduler/test/core/measure-core.ts [tasks] [workers] [nthreads] [durationUs]
 */
import { defineFunction, finished, packU32, submit, taskOptions } from '@farm/protocol/core';
import type { Run } from '@farm/protocol/core';
import { SchedulerCore } from '@farm/scheduler/core';
import type { SchedulerEvent } from '@farm/scheduler/core';

const TASKS = Number(process.argv[2] ?? 1_000_000);
const WORKERS = Number(process.argv[3] ?? 2);
const NTHREADS = Number(process.argv[4] ?? 1);
const DURATION_US = Number(process.argv[5] ?? 4);
const BLOCK = 50_000;
const VALUE_BYTES = 3;
const ARG_BYTES = 8;

const core = new SchedulerCore({ id: 's', address: 'a', startedMs: 0 });
let inCoreMs = 0;
let nowMs = 1;
let results = 0;
const pending = new Map<string, Run[]>();

gc();
const before = process.memoryUsage();
handle([
  {
    kind: 'client-connected',
    nowMs,
    client: 'c',
    hello: { op: 'hello', role: 'client', protocol: 1, version: '', incarnation: 'c', name: 'c' },
  },
  ...Array.from({ length: WORKERS }, (_, index) => `w${index}`).map((name): SchedulerEvent => ({
    kind: 'worker-connected',
    nowMs,
    worker: name,
    hello: {
      op: 'hello',
      role: 'worker',
      protocol: 1,
      version: '',
      incarnation: name,
      name,
      nthreads: NTHREADS,
      resources: [],
      memoryLimitBytes: null,
      address: null,
      host: 'h',
      pid: 1,
      localDirectory: '',
      nanny: false,
    },
  })),
  said(defineFunction('hash', 'f', new Uint8Array(100))),
]);
for (let first = 0; first < TASKS; first += BLOCK) {
  const count = Math.min(BLOCK, TASKS - first);
  const message = submit({
    first,
    count,
    key: 'map',
    indexFrom: first,
    fn: 'hash',
    args: new Uint8Array(count * ARG_BYTES),
    argEndsColumn: packU32(Array.from({ length: count }, (_, index) => (index + 1) * ARG_BYTES)),
    depsColumn: null,
    depEndsColumn: null,
    options: taskOptions({}),
  });
  handle([said(message)]);
}
const submittedMs = inCoreMs;
for (let runs = takeRuns(); runs.length > 0; runs = takeRuns()) {
  for (const { worker, runs: told } of runs) {
    nowMs += 1;
    handle(
      told.map((run) => ({
        kind: 'worker-said',
        nowMs,
        worker,
        message: finished({
          runs: run.runs,
          sizes: run.runs.map(() => VALUE_BYTES),
          values: new Uint8Array(run.runs.length * VALUE_BYTES),
          ends: run.runs.map((_, index) => (index + 1) * VALUE_BYTES),
          durationsUs: run.runs.map(() => DURATION_US),
        }),
      })),
    );
  }
}
gc();
const after = process.memoryUsage();
const finishedMs = inCoreMs;
handle([said({ op: 'release', ranges: [0, TASKS] })]);
if (results !== TASKS) throw new Error(`${results} results of ${TASKS}`);

console.log(`${TASKS} tasks`);
console.log(`submit    ${((submittedMs * 1_000) / TASKS).toFixed(3)} µs/task`);
console.log(`run       ${(((finishedMs - submittedMs) * 1_000) / TASKS).toFixed(3)} µs/task`);
console.log(`release   ${(((inCoreMs - finishedMs) * 1_000) / TASKS).toFixed(3)} µs/task`);
for (const kind of ['rss', 'heapUsed', 'arrayBuffers'] as const) {
  console.log(`${kind.padEnd(13)}${((after[kind] - before[kind]) / TASKS).toFixed(0)} B/task`);
}
console.log(core.statistics());

function said(
  message: Extract<SchedulerEvent, { kind: 'client-said' }>['message'],
): SchedulerEvent {
  return { kind: 'client-said', nowMs, client: 'c', message };
}

function handle(events: readonly SchedulerEvent[]): void {
  const start = performance.now();
  const instructions = core.handle(events);
  inCoreMs += performance.now() - start;
  for (const instruction of instructions) {
    if (instruction.do === 'to-client' && instruction.message.op === 'results') {
      results += instruction.message.ids.length;
    }
    if (instruction.do === 'to-worker' && instruction.message.op === 'run') {
      const told = pending.get(instruction.worker);
      if (told === undefined) pending.set(instruction.worker, [instruction.message]);
      else told.push(instruction.message);
    }
  }
}

function takeRuns(): { readonly worker: string; readonly runs: Run[] }[] {
  const taken = [...pending].map(([worker, runs]) => ({ worker, runs }));
  pending.clear();
  return taken;
}

function gc(): void {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc');
  globalThis.gc();
}
