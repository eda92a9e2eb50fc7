import { getRelayed } from '@farm/protocol';
import type { GetData, WorkerBoundMessage, WorkerMessage } from '@farm/protocol';

import { memoryPolicy } from '../packages/worker/src/core/index.ts';
import type {
  WorkerCore,
  WorkerEvent,
  WorkerInstruction,
} from '../packages/worker/src/core/index.ts';
import type { DataOutlet } from '../packages/worker/src/shell/data/serve-data.ts';
import { DEVICES } from './checkers/devices.ts';
import type { Random } from './prng.ts';
import type { SimulatedProcess } from './process.ts';
import type { WorkerPlan } from './scenario.ts';
import { SimulatedFetcher } from './simulated-fetcher.ts';
import { SimulatedRuns } from './simulated-runs.ts';
import { SimulatedSpilling } from './simulated-spilling.ts';
import { SimulatedStore } from './simulated-store.ts';
import type { Wire, WireEnd } from './wire.ts';
import type { WorkerMemory } from './worker-memory.ts';
import { HEARTBEAT_MS } from './world.ts';
import type { World } from './world.ts';

/** The worker that lives through a session, and outlives it. */
export interface SessionHost {
  readonly plan: WorkerPlan;
  readonly process: SimulatedProcess;
  readonly address: string | null;
  /** Undefined where it has no limit. */
  readonly memory: WorkerMemory | undefined;
}

/** A worker's life on one connection: a model of `WorkerSession` around the production core. */
export class SimulatedSession {
  readonly name: string;
  readonly worker: SessionHost;
  readonly core: WorkerCore;
  readonly store = new SimulatedStore();
  readonly #world: World;
  readonly #end: WireEnd;
  readonly #random: Random;
  readonly #wire: Wire;
  readonly #runs: SimulatedRuns;
  readonly #fetcher: SimulatedFetcher;
  readonly #spilling: SimulatedSpilling;
  readonly #ended: (how: 'exit' | 'lost') => void;
  #events: WorkerEvent[] = [];
  #isDue = false;
  #isOver = false;
  #handled = 0;
  #wasPaused = false;

  constructor(
    world: World,
    options: {
      readonly worker: SessionHost;
      readonly end: WireEnd;
      readonly random: Random;
      readonly wire: Wire;
      readonly name: string;
      /** A task ends the whole process. */
      readonly killed: () => void;
      readonly ended: (how: 'exit' | 'lost') => void;
    },
  ) {
    const { worker, killed } = options;
    const { plan, process, address } = worker;
    const { clock, cores } = world;
    this.#world = world;
    this.worker = worker;
    this.name = options.name;
    this.#end = options.end;
    this.#random = options.random;
    this.#wire = options.wire;
    this.#ended = options.ended;
    const devices = plan.resources.flatMap(([resource, amount]) => {
      const ids = Array.from({ length: amount }, (_, index) => String(index));
      return resource === DEVICES ? [{ name: resource, ids, amount }] : [];
    });
    const { nthreads, name } = plan;
    const memory = memoryPolicy(plan.memoryLimitBytes);
    this.core = new cores.WorkerCore({ nthreads, name, address, devices, memory });
    this.#runs = new SimulatedRuns(world, {
      session: this,
      random: this.#random,
      post: (event) => this.#post(event),
      killed,
    });
    this.#fetcher = new SimulatedFetcher({
      clock,
      process,
      wire: this.#wire,
      chunkBytes: world.scenario.settings.chunkBytes,
      dial: (peer, answer) => this.#dialPeer(peer, answer),
      askRelay: (request, task, offset, length) => {
        this.#say(getRelayed(request, task, offset, length));
      },
    });
    this.#spilling = new SimulatedSpilling({
      name: this.name,
      worker,
      store: this.store,
      clock,
      coverage: world.coverage,
      post: (event) => this.#post(event),
    });
  }

  /** Begins to listen. */
  begin(): void {
    this.#world.checks.execution.opened(this);
    this.#beat();
    this.#spilling.sampleSoon();
    this.#end.listen({
      heard: (payload) => {
        if (this.#isOver) return;
        if (payload.kind === 'bulk') this.#fetcher.relayed(payload.frame.request, payload.frame);
        // SAFE: on this connection only the scheduler speaks.
        else this.#hear(payload.message as WorkerBoundMessage);
      },
      closed: (reason) => this.#finish('lost', reason),
    });
  }

  askClose(reason: string): void {
    this.#post({ kind: 'close-asked', nowMs: this.#world.clock.nowMs, reason });
  }

  askDrain(reason: string): void {
    const { nowMs } = this.#world.clock;
    this.#post({ kind: 'drain-asked', nowMs, reason, restart: false });
  }

  /** The process is gone. */
  die(isSilent: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#runs.close();
    this.#fetcher.close();
    this.#spilling.close();
    if (isSilent) this.#end.vanish();
    else this.#end.terminate('the process ended');
    this.#world.checks.execution.closed(this);
  }

  #finish(how: 'exit' | 'lost', reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#runs.close();
    this.#fetcher.close();
    this.#spilling.close();
    this.#end.close(reason);
    this.#world.checks.execution.closed(this);
    this.store.clear();
    this.#ended(how);
  }

  #beat(): void {
    if (this.#isOver) return;
    const executing = this.#runs.executing;
    const metrics = {
      rssBytes: 1_000_000,
      storedBytes: this.store.totalBytes,
      cpu: 0.5,
      loopLagMs: 0,
      executing,
      queued: Math.max(0, this.core.counts().runs - executing),
      spilledBytes: 0,
      paused: false,
    };
    this.#post({ kind: 'heartbeat-due', nowMs: this.#world.clock.nowMs, metrics });
    this.worker.process.after(HEARTBEAT_MS, () => this.#beat());
  }

  /** Sends a part of a value, out of memory or its file. */
  serve(request: GetData, outlet: DataOutlet): void {
    this.#spilling.serve(request, outlet);
  }

  #hear(message: WorkerBoundMessage): void {
    if (message.op === 'get-data') {
      this.serve(message, {
        send: (answer) => this.#wire.send(this.#end, 'worker', answer),
        sendBulk: (frame) => this.#wire.sendBulk(this.#end, frame),
      });
    } else if (message.op === 'data-failed') this.#fetcher.relayed(message.request, null);
    else this.#post({ kind: 'scheduler-said', nowMs: this.#world.clock.nowMs, message });
  }

  #post(event: WorkerEvent): void {
    if (this.#isOver) return;
    this.#events.push(event);
    if (this.#isDue) return;
    this.#isDue = true;
    const { loopMs } = this.#world.scenario.settings;
    this.worker.process.after(loopMs * this.#random.fraction(), () => this.#drain());
  }

  #drain(): void {
    this.#isDue = false;
    if (this.#isOver) return;
    const events = this.#events;
    this.#events = [];
    const { trace, checks, clock } = this.#world;
    for (const event of events) trace.note(clock.nowMs, this.name, event);
    const instructions = this.core.handle(events);
    this.#handled += 1;
    if (this.#handled % checks.validateEvery === 0) this.core.validate();
    for (const instruction of instructions) {
      trace.note(clock.nowMs, this.name, instruction);
      this.#perform(instruction);
    }
  }

  #perform(instruction: WorkerInstruction): void {
    switch (instruction.do) {
      case 'to-scheduler':
        this.#world.checks.execution.said(this, instruction.message);
        this.#notePause(instruction.message);
        this.#say(instruction.message);
        break;
      case 'execute':
        this.#runs.execute(instruction);
        break;
      case 'withdraw':
        this.#runs.withdraw(instruction);
        break;
      case 'interrupt':
        this.#runs.interrupt(instruction);
        break;
      case 'keep':
        this.store.set(instruction.task, instruction.value.slice());
        break;
      case 'drop':
        this.#spilling.drop(instruction.tasks);
        break;
      case 'fetch':
        this.#fetch(instruction.task, instruction.sizeBytes, instruction.holders);
        break;
      case 'wake':
        this.worker.process.after(instruction.afterMs, () => {
          this.#post({ kind: 'woke', nowMs: this.#world.clock.nowMs });
        });
        break;
      case 'exit':
        this.#finish('exit', instruction.reason);
        break;
      case 'define':
      case 'forget':
        this.#world.checks.execution.functionsTold(this, instruction);
        break;
      case 'log':
        break;
      case 'spill':
        this.#spilling.spill(instruction);
        break;
      case 'evict':
        this.#spilling.evict(instruction.task);
        break;
      case 'load':
        this.#spilling.load(instruction);
        break;
      case 'collect':
        break;
      default:
        instruction satisfies never;
    }
  }

  #say(message: Parameters<Wire['send']>[2]): void {
    this.#wire.send(this.#end, 'worker', message);
  }

  #notePause(message: WorkerMessage): void {
    if (message.op !== 'worker-heartbeat' || message.metrics.paused === this.#wasPaused) return;
    this.#wasPaused = message.metrics.paused;
    this.#world.coverage.happened(this.#wasPaused ? 'worker paused' : 'worker resumed');
  }

  #fetch(task: number, sizeBytes: number, holders: readonly string[]): void {
    this.#fetcher.fetch(task, sizeBytes, holders, (value) => {
      const { nowMs } = this.#world.clock;
      if (value === null) {
        this.#post({ kind: 'input-failed', nowMs, task, holders, reason: 'nobody has it' });
        return;
      }
      if (this.#isOver) return;
      this.store.set(task, value);
      this.#post({ kind: 'input-fetched', nowMs, task, sizeBytes: value.byteLength });
    });
  }

  #dialPeer(address: string, answer: { opened(end: WireEnd): void; failed(): void }): void {
    const host = /^tcp:\/\/(.*):/.exec(address)?.[1] ?? '';
    this.#world.network.dial(this.worker.process, address, this.name, host, answer);
  }
}
