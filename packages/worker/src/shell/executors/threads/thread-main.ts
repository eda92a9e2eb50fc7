/** The entry of a slot's thread: takes batches of runs, executes run after run. */
import type { ResourceAmounts } from '@farm/protocol/core';
import { workerData } from 'node:worker_threads';

import { type Outcome, runFunction } from './run-function.ts';
import { LaneWriter } from './run-lane.ts';
import { inTask, provideTaskContext, RunningTask } from './running-task.ts';
import { TaskFunctions } from './task-functions.ts';
import { guardTasks, TaskSurroundings } from './task-guard.ts';
import type {
  AbortedMessage,
  AbortMessage,
  CrashMessage,
  RecordMessage,
  RetireMessage,
  RunsMessage,
  ThreadBoundMessage,
  ThreadData,
} from './thread-messages.ts';
import { redirectOutput } from './thread-output.ts';

/** Results wait in the lane for at most about this long while further runs execute. */
const NOTIFY_AFTER_MS = 0.5;

const NO_RESOURCES: ResourceAmounts = [];

// SAFE: the thread slot starts this file with exactly this.
const { port, lane: laneMemory, workerName, slot } = workerData as ThreadData;
const lane = new LaneWriter(laneMemory);
const functions = new TaskFunctions(workerName);
const waiting: RunsMessage[] = [];
let isWorking = false;
let isHarmed = false;
let notifiedMs = 0;
let hasNews = false;
let executing: { readonly sequence: number; readonly task: RunningTask } | undefined;

redirectOutput(port, lane);
provideTaskContext();
const surroundings = new TaskSurroundings();
const exit = process.exit.bind(process);
guardTasks({
  crashed: (crash) => {
    const message: CrashMessage = { crash };
    port.postMessage(message);
    exit(1);
  },
  harmed: () => {
    isHarmed = true;
    if (!isWorking) retire();
  },
});

port.on('message', (message: ThreadBoundMessage) => {
  if (message.do === 'define') {
    functions.define(message.fn, message.name, message.spec);
  } else if (message.do === 'forget') {
    functions.forget(message.fns);
  } else if (message.do === 'abort') {
    abort(message);
  } else {
    waiting.push(message);
    if (!isWorking) void work();
  }
});

async function work(): Promise<void> {
  isWorking = true;
  for (let batch = waiting.shift(); batch !== undefined; batch = waiting.shift()) {
    let piece = 0;
    for (let index = 0; index < batch.keys.length; index++) {
      const sequence = (batch.first + index) >>> 0;
      const firstPiece = piece;
      piece += 1 + (batch.inputCounts?.[index] ?? 0);
      // What is left goes to a fresh thread; this one takes no more.
      if (isHarmed) {
        retire();
        return;
      }
      if (lane.start(sequence)) {
        const startedMs = performance.now();
        if (batch.announce) notify(startedMs);
        const task = aTask(batch, index, sequence);
        executing = { sequence, task };
        // Awaited only where there is something to wait for: a turn of the microtask queue costs
        // as much as a small task.
        const lastPiece = piece;
        const running = inTask(task, () => runFunction(functions, batch, firstPiece, lastPiece));
        const outcome = running instanceof Promise ? await running : running;
        executing = undefined;
        task.isOver = true;
        surroundings.restore();
        const endedMs = performance.now();
        report(sequence, outcome, Math.min(0xffff_ffff, (endedMs - startedMs) * 1000));
        lane.pass(sequence);
        if (endedMs - notifiedMs > NOTIFY_AFTER_MS) notify(endedMs);
      } else {
        lane.pass(sequence);
      }
    }
  }
  isWorking = false;
  if (hasNews) notify(performance.now());
  if (isHarmed) retire();
}

function aTask(batch: RunsMessage, index: number, sequence: number): RunningTask {
  return new RunningTask({
    key: batch.keys[index] ?? '',
    worker: workerName,
    slot,
    attempt: batch.attempts?.[index] ?? 1,
    resources: batch.resources?.[index] ?? NO_RESOURCES,
    tookSignal: () => lane.tookSignal(sequence),
  });
}

function abort({ sequence, code, message }: AbortMessage): void {
  if (executing?.sequence !== sequence) return;
  const aborted: AbortedMessage = { aborted: sequence };
  port.postMessage(aborted);
  const { task } = executing;
  inTask(task, () => task.abort(code, message));
}

/** Asks to be replaced; takes no more runs from then on. */
function retire(): void {
  isWorking = true;
  const message: RetireMessage = { retire: true };
  port.postMessage(message);
}

function report(sequence: number, { kind, bytes }: Outcome, durationUs: number): void {
  if (lane.write(sequence, kind, durationUs, bytes)) {
    hasNews = true;
    return;
  }
  // Encoded bytes are shared with nothing, so their memory can move, unless too much of it is idle.
  const own = bytes.byteLength * 2 > bytes.buffer.byteLength ? bytes : bytes.slice();
  const message: RecordMessage = { sequence, kind, durationUs, bytes: own };
  port.postMessage(message, own.buffer instanceof ArrayBuffer ? [own.buffer] : []);
}

function notify(nowMs: number): void {
  notifiedMs = nowMs;
  hasNews = false;
  if (lane.shouldNotify()) port.postMessage(null);
}
