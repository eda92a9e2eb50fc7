/** The entry of a slot's process: executes one run after the other. Its one argument is JSON. */
import { Socket } from 'node:net';

import { keepHugePagesToSelf } from '@farm/protocol/huge-pages';

import { resolveLocally } from '../local-modules.ts';
import { runFunction } from '../threads/run-function.ts';
import {
  endOrSecession,
  inTask,
  provideTaskContext,
  RunningTask,
} from '../threads/running-task.ts';
import { TaskFunctions } from '../threads/task-functions.ts';
import { guardTasks, TaskSurroundings } from '../threads/task-guard.ts';
import { packFailure } from '../threads/thread-messages.ts';
import { FrameReader, writeFrame } from './frames.ts';
import type { ProcessBoundMessage, ProcessData, WorkerBoundFrame } from './process-messages.ts';

/** The descriptor of the connection to the worker. */
const WORKER_FD = 3;

// SAFE: the process slot of this very package wrote it.
const { workerName, slot, scheduler, resultLimit } = JSON.parse(
  process.argv[2] ?? '{}',
) as ProcessData;
process.title = `farm-slot ${slot}`;
process.argv.length = 2;
keepHugePagesToSelf();

const worker = new Socket({ fd: WORKER_FD, readable: true, writable: true });
const functions = new TaskFunctions(workerName);
let executing: { readonly run: number; readonly task: RunningTask } | undefined;
/** Runs that go on without the slot. */
const seceded = new Map<number, RunningTask>();
let isHarmed = false;

provideTaskContext();
resolveLocally(process.env['FARM_LOCAL_DIRECTORY']);
const surroundings = new TaskSurroundings();
const exit = process.exit.bind(process);
guardTasks({
  crashed: (crash) => say({ say: 'crashed' }, packFailure(crash), () => exit(1)),
  harmed: () => {
    isHarmed = true;
    sayIfHarmed();
  },
});

// Batch systems send it to all processes of a job. Whether a task may end is the worker's decision.
process.on('SIGTERM', () => {});

const reader = new FrameReader((header, body) => {
  // SAFE: the other end speaks only this.
  hear(header as ProcessBoundMessage, body);
});
worker.on('data', (chunk: Uint8Array) => reader.push(chunk));
// The worker is gone, or wants this process to be: nothing is left to do for anybody.
worker.on('close', () => exit(0));
worker.on('error', () => exit(0));

function hear(message: ProcessBoundMessage, body: Uint8Array): void {
  switch (message.do) {
    case 'define':
      functions.define(message.fn, message.name, message.spec);
      break;
    case 'forget':
      functions.forget(message.fns);
      break;
    case 'environment':
      surroundings.setEnvironment(message.changes);
      break;
    case 'run':
      void execute(message, body);
      break;
    case 'abandon':
      if (seceded.delete(message.run)) isHarmed = true;
      sayIfHarmed();
      break;
    case 'abort': {
      const { run } = message;
      const task = executing?.run === run ? executing.task : seceded.get(run);
      if (task === undefined) break;
      say({ say: 'aborted', run });
      inTask(task, () => task.abort(message.code, message.message));
      break;
    }
    default:
      message satisfies never;
  }
}

async function execute(
  message: Extract<ProcessBoundMessage, { do: 'run' }>,
  bytes: Uint8Array,
): Promise<void> {
  const { run, fn, key, attempt, resources, devices } = message;
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  const tookSignal = (): void => {
    if (executing?.run === run) say({ say: 'listening', run });
  };
  const task = new RunningTask({
    key,
    worker: workerName,
    slot,
    attempt,
    resources,
    devices,
    scheduler,
    tookSignal,
  });
  executing = { run, task };
  const leave = task.enter();
  say({ say: 'started', run });
  const ends = Float64Array.from(message.ends);
  const running = inTask(task, () =>
    runFunction(functions, { fn, bytes, ends }, 0, ends.length, { limit: resultLimit }),
  );
  let end = running instanceof Promise ? await endOrSecession(task, running) : running;
  executing = undefined;
  leave();
  const used = process.cpuUsage(cpu);
  const cpuUs = end === undefined ? null : used.user + used.system;
  if (end === undefined) {
    seceded.set(run, task);
    say({ say: 'seceded', run });
    end = await running;
    if (!seceded.delete(run)) return;
  } else if (!surroundings.restore()) isHarmed = true;
  const { kind, bytes: outcome } = end;
  task.isOver = true;
  const durationUs = (performance.now() - startedMs) * 1000;
  const isToEnd = isHarmed && seceded.size === 0;
  say({ say: 'ended', run, kind, durationUs, cpuUs, isHarmed: isToEnd }, outcome);
}

/** Asks to be replaced, where that is due. */
function sayIfHarmed(): void {
  if (isHarmed && executing === undefined && seceded.size === 0) say({ say: 'harmed' });
}

function say(header: WorkerBoundFrame, body?: Uint8Array, written?: () => void): void {
  writeFrame(worker, header, body, written);
}
