/** The entry of a slot's thread: takes batches of runs, executes run after run. */
import type { ResourceAmounts } from '@farm/protocol/core';
import { type AllocateMemory, errorText } from '@farm/protocol/value';
import { workerData } from 'node:worker_threads';

import { pinThisThread } from '../../pinning/pin.ts';
import { collectGarbage, collectYoungGarbage } from '../../collect-garbage.ts';
import { ResultFiles } from '../../memory-files/result-files.ts';
import { resolveLocally } from '../local-modules.ts';
import { type Outcome, type ResultTerms, runFunction } from './run-function.ts';
import { LaneWriter } from './run-lane.ts';
import { endOrSecession, inTask, provideTaskContext, RunningTask } from './running-task.ts';
import { TaskFunctions } from './task-functions.ts';
import { guardTasks, TaskSurroundings } from './task-guard.ts';
import type {
  AbortedMessage,
  AbortMessage,
  CrashMessage,
  RecordMessage,
  RetireMessage,
  RunsMessage,
  SecededMessage,
  ThreadBoundMessage,
  ThreadData,
} from './thread-messages.ts';
import { redirectOutput } from './thread-output.ts';

/** Results wait in the lane for at most about this long while further runs execute. */
const NOTIFY_AFTER_MS = 0.5;
/** After a result of this size what the task left behind is given back to the system at once. */
const COLLECT_BYTES = 16_777_216;
/** After inputs of so many bytes that were only mapped, all of what is left of them is given back. */
const COLLECT_MAPPED_BYTES = 134_217_728;

// SAFE: where it is there, it is this.
const newerProcess = process as { readonly threadCpuUsage?: () => NodeJS.CpuUsage };
const NOTHING = new Uint8Array(0);
const NO_RESOURCES: ResourceAmounts = [];

// SAFE: the thread slot starts this file with exactly this.
const threadData = workerData as ThreadData;
const { port, lane: laneMemory, workerName, slot, scheduler, cpus } = threadData;
const fileBytesMax = threadData.memoryFiles ? (threadData.resultLimit?.bytes ?? Infinity) : 0;
const resultFiles = new ResultFiles(fileBytesMax);
const allocate: AllocateMemory = (sizeBytes) => resultFiles.allocate(sizeBytes);
const resultTerms: ResultTerms = { limit: threadData.resultLimit, allocate };
const lane = new LaneWriter(laneMemory);
const functions = new TaskFunctions(workerName);
const waiting: RunsMessage[] = [];
let isWorking = false;
let isHarmed = false;
/** Memory was given up that is to go back to the system: large inputs, the runs' own or shared. */
let isCollectDue = false;
/** Of inputs that were mapped, since all garbage was collected. */
let mappedBytes = 0;
let notifiedMs = 0;
let hasNews = false;
/** Runs that go on without the slot, by sequence number. */
const seceded = new Map<number, RunningTask>();
let executing: { readonly sequence: number; readonly task: RunningTask } | undefined;

redirectOutput(port, lane);
if (cpus !== undefined) {
  try {
    pinThisThread(cpus);
  } catch (error) {
    console.error(`farm: slot ${slot}: not bound to CPUs ${cpus}: ${errorText(error)}`);
  }
}
resolveLocally(process.env['FARM_LOCAL_DIRECTORY']);
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
    if (!isWorking) retireIfHarmed();
  },
});

port.on('message', (message: ThreadBoundMessage) => {
  if (message.do === 'define') {
    functions.define(message.fn, message.name, message.spec);
  } else if (message.do === 'forget') {
    functions.forget(message.fns);
  } else if (message.do === 'environment') {
    surroundings.setEnvironment(message.changes);
  } else if (message.do === 'abort') {
    abort(message);
  } else if (message.do === 'abandon') {
    if (seceded.delete(message.sequence)) isHarmed = true;
    if (!isWorking) retireIfHarmed();
  } else if (message.do === 'collect') {
    isCollectDue = true;
    if (!isWorking) collectIfDue();
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
      if (retireIfHarmed()) return;
      if (lane.start(sequence)) {
        const startedMs = performance.now();
        const cpu = isMeasured(batch, index) ? cpuUs() : undefined;
        if (batch.announce) notify(startedMs);
        const task = aTask(batch, index, sequence);
        // What the runs before left behind is not this one's.
        if (asksForMemory(batch, index)) collectGarbage();
        executing = { sequence, task };
        const leave = task.enter();
        // Awaited only where there is something to wait for: a turn of the microtask queue costs
        // as much as a small task.
        const lastPiece = piece;
        const running = inTask(task, () =>
          runFunction(functions, batch, firstPiece, lastPiece, resultTerms),
        );
        const outcome = running instanceof Promise ? await endOrSecession(task, running) : running;
        executing = undefined;
        leave();
        if (outcome === undefined) {
          goOnWithoutSlot(sequence, task, startedMs, running);
          lane.pass(sequence);
          continue;
        }
        task.isOver = true;
        surroundings.restore();
        const endedMs = performance.now();
        // The engine knows little of the weight of what such a task leaves behind.
        const mappedBefore = mappedBytes;
        const inputBytes = dropApart(batch, firstPiece, lastPiece);
        const isLarge = Math.max(outcome.bytes.byteLength, inputBytes) >= COLLECT_BYTES;
        const usedUs = cpu === undefined ? undefined : (cpuUs() ?? 0) - cpu;
        report(sequence, outcome, Math.min(0xffff_ffff, (endedMs - startedMs) * 1000), usedUs);
        lane.pass(sequence);
        if (endedMs - notifiedMs > NOTIFY_AFTER_MS) notify(endedMs);
        if (isLarge || mappedBytes >= COLLECT_MAPPED_BYTES) collectAll();
        else if (mappedBytes > mappedBefore) collectYoungGarbage();
      } else {
        lane.pass(sequence);
      }
    }
    if (batch.bytes.byteLength >= COLLECT_BYTES) {
      if (hasNews) notify(performance.now());
      batch.bytes = NOTHING;
      collectGarbage();
    }
  }
  isWorking = false;
  if (hasNews) notify(performance.now());
  collectIfDue();
  retireIfHarmed();
}

function goOnWithoutSlot(
  sequence: number,
  task: RunningTask,
  startedMs: number,
  running: Outcome | Promise<Outcome>,
): void {
  seceded.set(sequence, task);
  const message: SecededMessage = { seceded: sequence };
  port.postMessage(message);
  void Promise.resolve(running).then((outcome) => {
    task.isOver = true;
    if (seceded.delete(sequence)) {
      // What else ran in the thread meanwhile cannot be told apart.
      post(sequence, outcome, (performance.now() - startedMs) * 1000, undefined);
    }
    if (!isWorking) retireIfHarmed();
  });
}

function collectIfDue(): void {
  if (isCollectDue) collectAll();
  isCollectDue = false;
}

function collectAll(): void {
  mappedBytes = 0;
  collectGarbage();
}

/** Forgets inputs of a run that came by themselves. Returns the bytes of those that moved here. */
function dropApart({ apart, mapped }: RunsMessage, firstPiece: number, lastPiece: number): number {
  let bytes = 0;
  if (apart === null || apart === undefined) return bytes;
  for (let piece = firstPiece; piece < lastPiece; piece++) {
    const input = apart.get(piece);
    if (input?.buffer instanceof ArrayBuffer) {
      if (mapped?.has(piece) === true) mappedBytes += input.byteLength;
      else bytes += input.byteLength;
    }
    apart.delete(piece);
  }
  return bytes;
}

/** To look at the clock costs as much as a tiny task: of those that share a batch nobody does. */
function isMeasured(batch: RunsMessage, index: number): boolean {
  return batch.keys.length === 1 || asksForMemory(batch, index);
}

/** Processor time of this thread so far; undefined where Node does not tell, before 23.9. */
function cpuUs(): number | undefined {
  const usage = newerProcess.threadCpuUsage?.();
  return usage && usage.user + usage.system;
}

function asksForMemory({ resources }: RunsMessage, index: number): boolean {
  return resources?.[index]?.some(([name]) => name === 'memory') ?? false;
}

function aTask(batch: RunsMessage, index: number, sequence: number): RunningTask {
  return new RunningTask({
    key: batch.keys[index] ?? '',
    worker: workerName,
    slot,
    attempt: batch.attempts?.[index] ?? 1,
    resources: batch.resources?.[index] ?? NO_RESOURCES,
    devices: batch.devices?.[index],
    scheduler,
    tookSignal: () => lane.tookSignal(sequence),
    allocate,
  });
}

function abort({ sequence, code, message }: AbortMessage): void {
  const task = executing?.sequence === sequence ? executing.task : seceded.get(sequence);
  if (task === undefined) return;
  const aborted: AbortedMessage = { aborted: sequence };
  port.postMessage(aborted);
  inTask(task, () => task.abort(code, message));
}

/** Asks to be replaced, where that is due, and takes no more runs from then on. */
function retireIfHarmed(): boolean {
  if (!isHarmed || seceded.size > 0) return false;
  isWorking = true;
  const message: RetireMessage = { retire: true };
  port.postMessage(message);
  return true;
}

function report(
  sequence: number,
  outcome: Outcome,
  durationUs: number,
  usedUs: number | undefined,
): void {
  if (lane.write(sequence, outcome.kind, durationUs, outcome.bytes, usedUs)) hasNews = true;
  else post(sequence, outcome, durationUs, usedUs);
}

function post(
  sequence: number,
  { kind, bytes }: Outcome,
  durationUs: number,
  usedUs: number | undefined,
): void {
  // Encoded bytes are shared with nothing, so their memory can move, unless too much of it is idle.
  const own = bytes.byteLength * 2 > bytes.buffer.byteLength ? bytes : bytes.slice();
  const file = resultFiles.handOver(own);
  const message: RecordMessage = { sequence, kind, durationUs, bytes: own, cpuUs: usedUs, file };
  port.postMessage(message, own.buffer instanceof ArrayBuffer ? [own.buffer] : []);
}

function notify(nowMs: number): void {
  notifiedMs = nowMs;
  hasNews = false;
  if (lane.shouldNotify()) port.postMessage(null);
}
