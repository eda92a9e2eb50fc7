import { defineFunction, packU32, submit, taskOptions } from '@farm/protocol/core';
import type { ClientMessage, WorkerHello } from '@farm/protocol/core';
import { SchedulerCore } from '@farm/scheduler/core';
import type { SchedulerEvent, SchedulerInstruction } from '@farm/scheduler/core';

import { Clock } from '../../sim/clock.ts';
import type { Timer } from '../../sim/clock.ts';
import { mix, Random } from '../../sim/prng.ts';
import { sinksOf } from '../graphs/graph.ts';
import type { Stage, TaskGraph } from '../graphs/graph.ts';
import { NodeNetwork } from './network.ts';
import { RandomScheduler } from './random-scheduler.ts';
import { VirtualWorker } from './virtual-worker.ts';

/** 1 Gb/s. */
const LINK_BYTES_PER_S = 125_000_000;
/** What a client needs to encode one task, milliseconds. */
const CLIENT_TASK_MS = 0.002;
/** Tasks of small graphs arrive in one frame, those of large ones in several. */
const FRAME_TASKS = 20_000;
/** From an event to the core, milliseconds. */
const LOOP_MS = 0.05;
const TICK_MS = 500;
/** Nothing takes that long. */
const DEADLINE_MS = 36_000_000;
const STARTED_MS = 1_000_000;

/** Nodes with one link each, and workers of one slot on each. */
export interface Layout {
  readonly nodes: number;
  readonly workersPerNode: number;
}

/** What is simulated. */
export interface Simulation {
  readonly graph: TaskGraph;
  readonly layout: Layout;
  readonly policy: 'farm' | 'random';
  /** `spread`: log-normal, with a standard deviation as large as the mean. */
  readonly durations: 'constant' | 'spread';
  readonly seed: number;
}

/** What came of it. */
export interface Outcome {
  /** From the first submit to the last result at the client. */
  readonly makespanMs: number;
  /** No scheduler can be faster: work by slots, or the longest path, without any transfer. */
  readonly boundMs: number;
  readonly remoteBytes: number;
  readonly localBytes: number;
  /** The largest share of time that a link was busy in one direction. */
  readonly busiestLink: number;
  /** Runs that were moved by stealing. */
  readonly moved: number;
}

interface Brain {
  handle(events: readonly SchedulerEvent[]): readonly SchedulerInstruction[];
}

/** Runs a graph in virtual time. The same simulation gives the same outcome. */
export function simulate(simulation: Simulation): Outcome {
  const { graph, layout, policy, seed } = simulation;
  const clock = new Clock();
  const network = new NodeNetwork(
    clock,
    new Random(mix(seed, 'network')),
    layout.nodes,
    LINK_BYTES_PER_S,
  );
  const durations = durationsOf(simulation);
  const core = policy === 'farm' ? newCore() : null;
  const brain: Brain = core ?? new RandomScheduler(new Random(mix(seed, 'placement')));
  const sinks = new Set(sinksOf(graph));
  const links = new Map<string, Link>();
  const workers = new Map<string, { readonly worker: VirtualWorker; readonly node: number }>();
  const end: { atMs: number | null } = { atMs: null };
  let events: SchedulerEvent[] = [];
  let isDue = false;
  let wake: Timer | null = null;

  const now = (): number => STARTED_MS + clock.nowMs;
  const post = (event: SchedulerEvent): void => {
    events.push(event);
    if (isDue) return;
    isDue = true;
    clock.after(LOOP_MS, () => {
      isDue = false;
      const batch = events;
      events = [];
      for (const instruction of brain.handle(batch)) perform(instruction);
    });
  };
  const perform = (instruction: SchedulerInstruction): void => {
    switch (instruction.do) {
      case 'to-worker': {
        const { message } = instruction;
        const found = workers.get(instruction.worker);
        links.get(instruction.worker)?.down.send(() => found?.worker.hear(message));
        break;
      }
      case 'to-client':
        if (instruction.message.op === 'results') {
          for (const id of instruction.message.ids) sinks.delete(id);
          if (sinks.size === 0) end.atMs ??= clock.nowMs + network.latencyMs();
        } else if (instruction.message.op !== 'accepted') {
          throw new Error(`the client was told ${JSON.stringify(instruction.message)}`);
        }
        break;
      case 'wake-at':
        clock.cancel(wake);
        wake = clock.at(instruction.atMs - STARTED_MS, () => post({ kind: 'tick', nowMs: now() }));
        break;
      case 'log':
        if (instruction.level === 'error') throw new Error(instruction.message);
        break;
      default:
        throw new Error(`nobody asked for ${instruction.do}`);
    }
  };
  const tick = (): void => {
    post({ kind: 'tick', nowMs: now() });
    clock.after(TICK_MS, tick);
  };

  post({ kind: 'client-connected', nowMs: now(), client: 'client', hello: CLIENT_HELLO });
  for (let node = 0; node < layout.nodes; node++) {
    for (let index = 0; index < layout.workersPerNode; index++) {
      const name = `w${node}.${index}`;
      const link = { up: new InOrder(clock, network), down: new InOrder(clock, network) };
      links.set(name, link);
      post({ kind: 'worker-connected', nowMs: now(), worker: name, hello: hello(name, node) });
      const worker = new VirtualWorker({
        clock,
        name,
        resultBytes: graph.resultBytes,
        durationMsOf: ({ key }) => durations[indexOf(policy, key)] ?? 0,
        say: (message) => {
          link.up.send(() => post({ kind: 'worker-said', nowMs: now(), worker: name, message }));
        },
        bring: (address, bytes, done) => {
          const from = workers.get(address)?.node;
          if (from === undefined) throw new Error(`there is no worker ${address}`);
          network.transfer(from, node, bytes, done);
        },
      });
      workers.set(name, { worker, node });
    }
  }
  tick();
  clock.runUntil(1_000);
  const startMs = clock.nowMs;
  let atMs = startMs;
  const frames = framesOf(graph);
  for (const { messages, tasks } of frames) {
    atMs += tasks * CLIENT_TASK_MS;
    clock.at(atMs, () => {
      for (const message of messages) {
        post({ kind: 'client-said', nowMs: now(), client: 'client', message });
      }
    });
  }
  while (end.atMs === null && clock.nowMs < DEADLINE_MS) clock.step();
  if (end.atMs === null) throw new Error(`${graph.name} does not end`);
  const makespanMs = end.atMs - startMs;
  return {
    makespanMs,
    boundMs: boundMs(graph, durations, layout),
    remoteBytes: network.remoteBytes,
    localBytes: network.localBytes,
    busiestLink: network.busiest(makespanMs),
    moved: core?.statistics().runsMoved ?? 0,
  };
}

function newCore(): SchedulerCore {
  return new SchedulerCore({ id: 'scheduler', address: 'scheduler', startedMs: STARTED_MS });
}

interface Link {
  readonly up: InOrder;
  readonly down: InOrder;
}

/** Messages in one direction of a connection: late, but in order. */
class InOrder {
  readonly #clock: Clock;
  readonly #network: NodeNetwork;
  #lastAtMs = 0;

  constructor(clock: Clock, network: NodeNetwork) {
    this.#clock = clock;
    this.#network = network;
  }

  send(arrived: () => void): void {
    this.#lastAtMs = Math.max(this.#lastAtMs, this.#clock.nowMs + this.#network.latencyMs());
    this.#clock.at(this.#lastAtMs, arrived);
  }
}

/** Submits stage by stage; then gives up all futures but those of the sinks. */
function framesOf(graph: TaskGraph): { messages: ClientMessage[]; tasks: number }[] {
  const names = new Set(graph.stages.map(({ name }) => name));
  const frames: { messages: ClientMessage[]; tasks: number }[] = [];
  let frame: { messages: ClientMessage[]; tasks: number } = { messages: [], tasks: 0 };
  frames.push(frame);
  for (const name of names) frame.messages.push(defineFunction(name, name, new Uint8Array(1)));
  for (const stage of graph.stages) {
    if (frame.tasks + stage.count > FRAME_TASKS) {
      frame = { messages: [], tasks: 0 };
      frames.push(frame);
    }
    frame.messages.push(submitOf(graph, stage));
    frame.tasks += stage.count;
  }
  const sinks = new Set(sinksOf(graph));
  const ranges: number[] = [];
  for (let index = 0; index < graph.dependencies.length; index++) {
    if (sinks.has(index)) continue;
    const end = (ranges.at(-2) ?? -1) + (ranges.at(-1) ?? 0);
    if (end === index) ranges[ranges.length - 1] = (ranges.at(-1) ?? 0) + 1;
    else ranges.push(index, 1);
  }
  if (ranges.length > 0) frame.messages.push({ op: 'release', ranges });
  return frames;
}

function submitOf({ dependencies }: TaskGraph, { name, first, count }: Stage): ClientMessage {
  const needed = dependencies.slice(first, first + count);
  const all = needed.flat();
  let end = 0;
  const ends = needed.map(({ length }) => (end += length));
  return submit({
    first,
    count,
    key: `${name}-${first}`,
    indexFrom: first,
    fn: name,
    args: new Uint8Array(count),
    argEndsColumn: packU32(needed.map((_, index) => index + 1)),
    depsColumn: all.length === 0 ? null : packU32(all),
    depEndsColumn: all.length === 0 ? null : packU32(ends),
    options: taskOptions({}),
  });
}

/** The task that a key stands for: its last number. */
function indexOf(policy: Simulation['policy'], key: string): number {
  return Number(policy === 'random' ? key : key.slice(key.lastIndexOf('-') + 1));
}

function durationsOf({ graph, durations, seed }: Simulation): readonly number[] {
  const { durationMs } = graph;
  if (durations === 'constant') return graph.dependencies.map(() => durationMs);
  const random = new Random(mix(seed, 'durations'));
  const variance = Math.log(2);
  return graph.dependencies.map(() => {
    const normal =
      Math.sqrt(-2 * Math.log(1 - random.fraction())) * Math.cos(2 * Math.PI * random.fraction());
    return durationMs * Math.exp(Math.sqrt(variance) * normal - variance / 2);
  });
}

function boundMs(
  { dependencies }: TaskGraph,
  durations: readonly number[],
  layout: Layout,
): number {
  const ends: number[] = [];
  let longest = 0;
  let total = 0;
  for (const [index, needed] of dependencies.entries()) {
    let startMs = 0;
    for (const other of needed) startMs = Math.max(startMs, ends[other] ?? 0);
    const durationMs = durations[index] ?? 0;
    ends.push(startMs + durationMs);
    longest = Math.max(longest, startMs + durationMs);
    total += durationMs;
  }
  return Math.max(longest, total / (layout.nodes * layout.workersPerNode));
}

const CLIENT_HELLO = {
  op: 'hello',
  role: 'client',
  protocol: 1,
  version: '',
  incarnation: 'client',
  name: 'client',
} as const;

function hello(name: string, node: number): WorkerHello {
  return {
    op: 'hello',
    role: 'worker',
    protocol: 1,
    version: '',
    incarnation: name,
    name,
    nthreads: 1,
    resources: [],
    memoryLimitBytes: null,
    address: name,
    host: `node${node}`,
    pid: 1,
    localDirectory: '',
    nanny: false,
  };
}
