import { dataFailed, failure, getRelayed, LIMITS } from '@farm/protocol';
import type { GetData, WorkerBoundMessage, WorkerHello, WorkerMessage } from '@farm/protocol';

import { memoryPolicy } from '../packages/worker/src/core/index.ts';
import type {
  Execute,
  Load,
  Spill,
  WorkerCore,
  WorkerEvent,
  WorkerInstruction,
} from '../packages/worker/src/core/index.ts';
import { serveData } from '../packages/worker/src/shell/data/serve-data.ts';
import { DEVICES } from './checkers/devices.ts';
import { check } from './failure.ts';
import { mix, Random } from './prng.ts';
import { SimulatedProcess } from './process.ts';
import type { WorkerPlan } from './scenario.ts';
import { SimulatedFetcher } from './simulated-fetcher.ts';
import { SimulatedSlots } from './simulated-slots.ts';
import type { GivenRun } from './simulated-slots.ts';
import { SimulatedStore } from './simulated-store.ts';
import { Wire } from './wire.ts';
import type { WireEnd } from './wire.ts';
import { SAMPLE_MS, WorkerMemory } from './worker-memory.ts';
import { HEARTBEAT_MS, SCHEDULER_ADDRESS, SCHEDULER_HOST } from './world.ts';
import type { World } from './world.ts';

/** How a worker's process ends: by force, on purpose, or since its name was taken. */
export type WorkerEnd = 'killed' | 'closed' | 'refused';

/** Between two attempts to connect. */
const RETRY_MS = 100;

/**
 * A worker's process: dials the scheduler, lives session after session, and serves its store to
 * peers. A model of `Worker` of the worker package.
 */
export class SimulatedWorker {
  readonly plan: WorkerPlan;
  readonly process: SimulatedProcess;
  readonly address: string | null;
  /** Undefined where it has no limit. */
  readonly memory: WorkerMemory | undefined;
  readonly #world: World;
  readonly #random: Random;
  readonly #wire: Wire;
  readonly #ended: (how: WorkerEnd) => void;
  readonly #peerEnds = new Set<WireEnd>();
  #session: SimulatedSession | null = null;
  #sessions = 0;
  #closing: string | null = null;

  constructor(
    world: World,
    plan: WorkerPlan,
    options: { readonly number: number; readonly ended: (how: WorkerEnd) => void },
  ) {
    const { number, ended } = options;
    this.#world = world;
    this.plan = plan;
    this.process = new SimulatedProcess(world.clock, `${plan.name}#${number}`, plan.host);
    this.address = plan.isReachable ? `tcp://${plan.host}:${10_000 + number}` : null;
    const { seed } = world.scenario;
    this.#random = new Random(mix(seed, 'worker', plan.name, number));
    const { memoryLimitBytes } = plan;
    if (memoryLimitBytes !== null) {
      this.memory = new WorkerMemory(seed, this.process.name, memoryLimitBytes);
    }
    this.#wire = new Wire(this.#random, world.scenario.settings.codecShare);
    this.#ended = ended;
    if (this.address !== null) this.#serve(this.address);
    this.process.after(0, () => this.#connect());
  }

  /** The session it is in, if any. */
  get session(): SimulatedSession | null {
    return this.#session;
  }

  /** Asks it to hand back its work and end. */
  askClose(reason: string): void {
    this.process.run(() => {
      this.#closing = reason;
      if (this.#session === null) this.#exit('closed');
      else this.#session.askClose(reason);
    });
  }

  /** Asks it to end what it runs, with nothing lost, within `graceMs`. */
  askDrain(reason: string, graceMs: number): void {
    this.process.run(() => {
      if (this.#session === null) {
        this.askClose(reason);
        return;
      }
      this.#closing = reason;
      this.#session.askDrain(reason);
      this.process.after(graceMs, () => this.askClose(reason));
    });
  }

  /** Ends the process at once. `isSilent`: the machine is gone, and nobody is told. */
  kill(isSilent: boolean): void {
    if (this.process.isDead) return;
    const session = this.#session;
    this.process.die();
    session?.die(isSilent);
    for (const end of this.#peerEnds) {
      if (isSilent) end.vanish();
      else end.terminate('the process ended');
    }
    if (this.address !== null) this.#world.network.unlisten(this.address);
    this.#session = null;
    this.#ended('killed');
  }

  #serve(address: string): void {
    this.#world.network.listen<string>(address, {
      owner: this.process,
      refusal: () => null,
      opened: (_from, end) => {
        this.#peerEnds.add(end);
        end.listen({
          heard: (payload) => {
            if (payload.kind !== 'message' || payload.message.op !== 'get-data') return;
            const outlet = this.#outlet(end);
            if (this.#session !== null) this.#session.serve(payload.message, outlet);
            else serveData(payload.message, new SimulatedStore(), outlet, this.plan.name);
          },
          closed: () => this.#peerEnds.delete(end),
        });
      },
    });
  }

  #outlet(end: WireEnd): Parameters<typeof serveData>[2] {
    return {
      send: (message) => this.#wire.send(end, 'peer', message),
      sendBulk: (frame) => this.#wire.sendBulk(end, frame),
    };
  }

  #connect(): void {
    const { plan, address } = this;
    const hello: WorkerHello = {
      op: 'hello',
      role: 'worker',
      protocol: 1,
      version: '0',
      incarnation: `${this.process.name}.${this.#sessions}`,
      name: plan.name,
      nthreads: plan.nthreads,
      resources: plan.resources,
      devices: plan.resources.flatMap(([name]) => (name === DEVICES ? [name] : [])),
      memoryLimitBytes: plan.memoryLimitBytes,
      address,
      host: plan.host,
      pid: 1,
      localDirectory: '/',
      nanny: false,
    };
    this.#world.network.dial(this.process, SCHEDULER_ADDRESS, hello, SCHEDULER_HOST, {
      opened: (end) => this.#open(end),
      failed: (_reason, isFinal) => {
        if (this.#closing !== null) this.#exit('closed');
        // A name that is taken may be its own, of a session whose end was not noticed yet.
        else if (isFinal && this.#sessions === 0) this.#exit('refused');
        else this.process.after(RETRY_MS * this.#random.between(0.5, 5), () => this.#connect());
      },
    });
  }

  #open(end: WireEnd): void {
    this.#sessions += 1;
    const session = new SimulatedSession(this.#world, this, {
      end,
      random: this.#random,
      wire: this.#wire,
      name: `${this.process.name}.${this.#sessions}`,
      ended: (how) => {
        this.#session = null;
        if (how === 'exit' || this.#closing !== null) this.#exit('closed');
        else this.process.after(this.#random.between(1, RETRY_MS), () => this.#connect());
      },
    });
    this.#session = session;
    session.begin();
    if (this.#closing !== null) session.askClose(this.#closing);
  }

  #exit(how: WorkerEnd): void {
    if (this.process.isDead) return;
    this.process.die();
    for (const end of this.#peerEnds) end.terminate('the process ended');
    if (this.address !== null) this.#world.network.unlisten(this.address);
    this.#ended(how);
  }
}

/** A worker's life on one connection: a model of `WorkerSession` around the production core. */
export class SimulatedSession {
  readonly name: string;
  readonly worker: SimulatedWorker;
  readonly core: WorkerCore;
  readonly store = new SimulatedStore();
  readonly #world: World;
  readonly #end: WireEnd;
  readonly #random: Random;
  readonly #wire: Wire;
  readonly #slots: SimulatedSlots;
  readonly #fetcher: SimulatedFetcher;
  readonly #ended: (how: 'exit' | 'lost') => void;
  readonly #tasks = new Map<number, number>();
  #events: WorkerEvent[] = [];
  #isDue = false;
  #isOver = false;
  #handled = 0;
  #wasPaused = false;

  constructor(
    world: World,
    worker: SimulatedWorker,
    options: {
      readonly end: WireEnd;
      readonly random: Random;
      readonly wire: Wire;
      readonly name: string;
      readonly ended: (how: 'exit' | 'lost') => void;
    },
  ) {
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
    this.#slots = new SimulatedSlots(plan.nthreads, {
      process,
      random: this.#random,
      nowMs: () => clock.nowMs,
      settings: world.scenario.settings,
      handlers: {
        ended: (_slot, results) => this.#runsEnded(results),
        erred: (_slot, run, why, durationUs) => {
          this.#tasks.delete(run);
          this.#post({ kind: 'run-erred', nowMs: clock.nowMs, run, failure: why, durationUs });
        },
        emptied: (slot, failed, unstarted) => {
          if (failed !== null) this.#tasks.delete(failed.run);
          for (const run of unstarted) this.#tasks.delete(run);
          this.#post({ kind: 'slot-emptied', nowMs: clock.nowMs, slot, failed, unstarted });
        },
        withdrawn: (slot, withdrawn, started) => this.#withdrawn(slot, withdrawn, started),
        seceded: (_slot, given) => {
          world.checks.execution.seceded(this, given);
          this.#post({ kind: 'run-seceded', nowMs: clock.nowMs, run: given.run.run });
        },
        started: (_slot, given) => world.checks.execution.started(this, given),
        over: (_slot, given) => world.checks.execution.over(this, given),
        compute: ({ spec, inputs }) => world.oracle.compute(spec, inputs),
        behave: (given) => world.checks.execution.behave(given),
        killed: () => world.killWorker(worker),
      },
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
  }

  /** Begins to listen. */
  begin(): void {
    this.#world.checks.execution.opened(this);
    this.#beat();
    this.#sampleSoon();
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
    this.#slots.close();
    this.#fetcher.close();
    if (isSilent) this.#end.vanish();
    else this.#end.terminate('the process ended');
    this.#world.checks.execution.closed(this);
  }

  #finish(how: 'exit' | 'lost', reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#slots.close();
    this.#fetcher.close();
    this.#end.close(reason);
    this.#world.checks.execution.closed(this);
    this.store.clear();
    this.#ended(how);
  }

  #beat(): void {
    if (this.#isOver) return;
    const executing = this.#slots.executing().length;
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

  /** Looks at its memory again and again, where there is a limit. */
  #sampleSoon(): void {
    const { memory, process } = this.worker;
    if (memory === undefined) return;
    process.after(SAMPLE_MS, () => {
      if (this.#isOver) return;
      const rssBytes = memory.sample(this.store.spillableBytes);
      this.#post({ kind: 'memory-sampled', nowMs: this.#world.clock.nowMs, rssBytes });
      this.#sampleSoon();
    });
  }

  /** Sends a part of a value, out of memory or its file. */
  serve(request: GetData, outlet: Parameters<typeof serveData>[2]): void {
    const { task } = request;
    const { name } = this.worker.plan;
    const where = this.store.where(task);
    if (where === 'damaged file') {
      this.#lost(task);
      const why = failure('ERR_LOST_DATA', `the file of ${task} is damaged`, '', name, null);
      outlet.send(dataFailed(request.request, why));
      return;
    }
    if (where === 'file') this.#world.coverage.happened('value served from a file');
    this.store.withFiles(() => serveData(request, this.store, outlet, name));
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

  #withdrawn(slot: number, withdrawn: readonly number[], started: readonly number[]): void {
    for (const run of withdrawn) this.#tasks.delete(run);
    const { nowMs } = this.#world.clock;
    this.#post({ kind: 'runs-withdrawn', nowMs, slot, withdrawn, started });
  }

  #perform(instruction: WorkerInstruction): void {
    switch (instruction.do) {
      case 'to-scheduler':
        this.#world.checks.execution.said(this, instruction.message);
        this.#notePause(instruction.message);
        this.#say(instruction.message);
        break;
      case 'execute':
        this.#execute(instruction);
        break;
      case 'withdraw': {
        const { slot, runs } = instruction;
        const { withdrawn, started } = this.#slots.withdraw(slot, runs);
        this.#withdrawn(slot, withdrawn, started);
        break;
      }
      case 'interrupt': {
        const { slot, run, code, reason } = instruction;
        this.#slots.interrupt(slot, run, failure(code, reason, '', this.worker.plan.name, null));
        break;
      }
      case 'keep':
        this.store.set(instruction.task, instruction.value.slice());
        break;
      case 'drop':
        this.store.drop(instruction.tasks);
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
        this.#spill(instruction);
        break;
      case 'evict':
        this.#evict(instruction.task);
        break;
      case 'load':
        this.#load(instruction);
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

  #execute({ slot, fn, runs }: Execute): void {
    const given: GivenRun[] = [];
    for (const run of runs) {
      const spec = this.#world.checks.execution.given(this, fn, run);
      const inputs = run.inputs.map((task) => {
        const value = this.store.get(task);
        check(
          value !== undefined,
          'inputs',
          `${this.name}: input ${task} of ${run.key} is missing`,
        );
        return value;
      });
      given.push({ run, spec, inputs });
      this.#tasks.set(run.run, run.task);
    }
    this.#slots.execute(slot, given);
  }

  #runsEnded(
    results: readonly {
      readonly run: number;
      readonly value: Uint8Array;
      readonly durationUs: number;
    }[],
  ): void {
    const ended = results.flatMap(({ run, value, durationUs }) => {
      const task = this.#tasks.get(run);
      if (task === undefined) return [];
      this.#tasks.delete(run);
      const sizeBytes = value.byteLength;
      this.store.set(task, value);
      return [
        {
          run,
          sizeBytes,
          value: sizeBytes <= LIMITS.inlineValueBytesMax ? value : null,
          durationUs,
        },
      ];
    });
    if (ended.length === 0) return;
    this.#post({ kind: 'runs-ended', nowMs: this.#world.clock.nowMs, ended });
  }

  #spill({ task, transfer }: Spill): void {
    const { memory, process } = this.worker;
    const value = this.store.get(task);
    check(memory !== undefined, 'memory', `${this.name} has no memory limit, and spills`);
    check(value !== undefined, 'memory', `${this.name} spills ${task}, which is not in memory`);
    process.after(memory.transferMs(), () => {
      const { nowMs } = this.#world.clock;
      if (memory.isDiskFull) {
        this.#world.coverage.happened('file not written');
        this.#post({ kind: 'spill-failed', nowMs, task, transfer, reason: 'the disk is full' });
      } else if (this.store.written(task, value)) {
        this.#world.coverage.happened('value written to a file');
        this.#post({ kind: 'value-spilled', nowMs, task, transfer });
      }
    });
  }

  #evict(task: number): void {
    check(this.store.hasFile(task), 'memory', `${this.name} gives up ${task}, which has no file`);
    this.#world.coverage.happened('value evicted');
    this.store.evict(task);
  }

  #load({ task, transfer }: Load): void {
    const { memory, process } = this.worker;
    check(memory !== undefined, 'memory', `${this.name} has no memory limit, and loads`);
    process.after(memory.transferMs(), () => {
      if (this.store.reload(task) === 'lost') {
        this.#lost(task);
        return;
      }
      this.#world.coverage.happened('value loaded');
      this.#post({ kind: 'value-loaded', nowMs: this.#world.clock.nowMs, task, transfer });
    });
  }

  #lost(task: number): void {
    this.#world.coverage.happened('spilled value lost');
    const { nowMs } = this.#world.clock;
    this.#post({ kind: 'value-lost', nowMs, task, reason: 'its file is damaged' });
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
