import type { WorkerHello } from '@farm/protocol';

import { serveData } from '../packages/worker/src/shell/data/serve-data.ts';
import type { DataOutlet } from '../packages/worker/src/shell/data/serve-data.ts';
import { DEVICES } from './checkers/devices.ts';
import { mix, Random } from './prng.ts';
import { SimulatedProcess } from './process.ts';
import type { WorkerPlan } from './scenario.ts';
import { SimulatedSession } from './simulated-session.ts';
import { SimulatedStore } from './simulated-store.ts';
import { Wire } from './wire.ts';
import type { WireEnd } from './wire.ts';
import { WorkerMemory } from './worker-memory.ts';
import { SCHEDULER_ADDRESS, SCHEDULER_HOST } from './world.ts';
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
  readonly #killed: () => void;
  readonly #peerEnds = new Set<WireEnd>();
  #session: SimulatedSession | null = null;
  #sessions = 0;
  #closing: string | null = null;

  constructor(
    world: World,
    plan: WorkerPlan,
    options: {
      readonly number: number;
      readonly ended: (how: WorkerEnd) => void;
      /** The process ends by the hand of a task. */
      readonly killed: () => void;
    },
  ) {
    const { number, ended, killed } = options;
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
    this.#killed = killed;
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

  #outlet(end: WireEnd): DataOutlet {
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
    const session = new SimulatedSession(this.#world, {
      worker: this,
      end,
      random: this.#random,
      wire: this.#wire,
      name: `${this.process.name}.${this.#sessions}`,
      killed: this.#killed,
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
