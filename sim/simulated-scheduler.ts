import { dataFailed, failure } from '@farm/protocol';
import type {
  ClientHello,
  ClientMessage,
  Message,
  WorkerHello,
  WorkerMessage,
} from '@farm/protocol';

import type {
  SchedulerCore,
  SchedulerEvent,
  SchedulerInstruction,
} from '../packages/scheduler/src/core/index.ts';
import { DataRelay, readdress } from '../packages/scheduler/src/shell/data-relay.ts';
import type { Timer } from './clock.ts';
import { mix, Random } from './prng.ts';
import { SimulatedProcess } from './process.ts';
import { Wire } from './wire.ts';
import type { WireEnd } from './wire.ts';
import { HEARTBEAT_MS, SCHEDULER_ADDRESS, SCHEDULER_HOST } from './world.ts';
import type { World } from './world.ts';

/** The scheduler's wall clock at the beginning of virtual time. */
const STARTED_MS = 1_700_000_000_000;

type Asker = Extract<SchedulerInstruction, { do: 'send-data' }>['asker'];

/** The scheduler's process: a model of `Scheduler` around the production core. */
export class SimulatedScheduler {
  readonly process: SimulatedProcess;
  readonly core: SchedulerCore;
  readonly #world: World;
  readonly #random: Random;
  readonly #wire: Wire;
  readonly #clients = new Map<string, WireEnd>();
  readonly #workers = new Map<string, WireEnd>();
  readonly #relay = new DataRelay();
  #events: SchedulerEvent[] = [];
  #isDue = false;
  #wake: Timer | null = null;
  #sessions = 0;
  #handled = 0;
  /** What its wall clock is ahead of virtual time. */
  #skewMs = STARTED_MS;
  #isClosing = false;
  #exitReason: string | null = null;

  constructor(world: World) {
    const { seed, settings } = world.scenario;
    this.#world = world;
    this.process = new SimulatedProcess(world.clock, 'scheduler', SCHEDULER_HOST);
    this.#random = new Random(mix(seed, 'scheduler'));
    this.#wire = new Wire(this.#random, settings.codecShare);
    this.core = new world.cores.SchedulerCore({
      id: 'scheduler',
      address: SCHEDULER_ADDRESS,
      startedMs: STARTED_MS,
      allowedFailures: settings.allowedFailures,
      inlineTotalBytesMax: settings.inlineTotalBytesMax,
      prefetchTasksMax: settings.prefetchTasksMax,
      prefetchTargetMs: settings.prefetchTargetMs,
      reserveAfterMs: settings.reserveAfterMs,
      stealIntervalMs: settings.stealIntervalMs,
      stealCostMs: settings.stealCostMs,
      stealAgainMs: settings.stealAgainMs,
      longTaskMs: settings.longTaskMs,
      surplusAfterMs: settings.surplusAfterMs,
      bandwidthBytesPerS: settings.bandwidthBytesPerS,
      workerLeaseMs: settings.leaseMs,
      clientLeaseMs: settings.leaseMs,
    });
    world.network.listen<WorkerHello | ClientHello>(SCHEDULER_ADDRESS, {
      owner: this.process,
      refusal: (hello) => (hello.role === 'worker' ? this.core.refusal(hello) : null),
      opened: (hello, end) => {
        if (hello.role === 'worker') this.#addWorker(hello, end);
        else this.#addClient(hello, end);
      },
    });
    this.#tick();
  }

  /** Why it has ended; null while it has not. */
  get exitReason(): string | null {
    return this.#exitReason;
  }

  get nowMs(): number {
    return this.#world.clock.nowMs + this.#skewMs;
  }

  /** Somebody sets the wall clock. */
  jump(byMs: number): void {
    this.#skewMs += byMs;
  }

  /** Whether it was told to end. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  askShutdown(reason: string): void {
    this.#isClosing = true;
    this.#push({ kind: 'shutdown-asked', nowMs: this.nowMs, reason });
  }

  #tick(): void {
    if (this.#exitReason !== null) return;
    this.#push({ kind: 'tick', nowMs: this.nowMs });
    this.process.after(HEARTBEAT_MS, () => this.#tick());
  }

  #addClient(hello: ClientHello, end: WireEnd): void {
    const client = `client-${++this.#sessions}`;
    this.#clients.set(client, end);
    this.#push({ kind: 'client-connected', nowMs: this.nowMs, client, hello });
    end.listen({
      heard: (payload) => {
        if (payload.kind === 'bulk') return;
        // SAFE: on this connection only a client speaks.
        const message = payload.message as ClientMessage;
        this.#push({ kind: 'client-said', nowMs: this.nowMs, client, message });
      },
      detached: (reason) => {
        this.#push({ kind: 'client-away', nowMs: this.nowMs, client, reason });
      },
      attached: () => this.#push({ kind: 'client-back', nowMs: this.nowMs, client }),
      closed: (reason) => {
        this.#clients.delete(client);
        this.#relay.askerGone('client', client);
        this.#push({ kind: 'client-lost', nowMs: this.nowMs, client, reason });
      },
    });
  }

  #addWorker(hello: WorkerHello, end: WireEnd): void {
    const worker = `worker-${++this.#sessions}`;
    this.#workers.set(worker, end);
    this.#push({ kind: 'worker-connected', nowMs: this.nowMs, worker, hello });
    end.listen({
      heard: (payload) => {
        if (payload.kind === 'bulk') {
          const { frame } = payload;
          const asker = this.#relay.end(worker, frame.request);
          if (asker !== undefined) {
            this.#wire.sendBulk(this.#asker(asker), readdress(frame, asker.request));
          }
          return;
        }
        // SAFE: on this connection only a worker speaks.
        const message = payload.message as WorkerMessage;
        if (message.op !== 'data-failed') {
          this.#push({ kind: 'worker-said', nowMs: this.nowMs, worker, message });
          return;
        }
        const asker = this.#relay.end(worker, message.request);
        if (asker !== undefined) this.#refuse(asker, dataFailed(asker.request, message.failure));
      },
      detached: (reason) => {
        this.#push({ kind: 'worker-away', nowMs: this.nowMs, worker, reason });
      },
      attached: () => this.#push({ kind: 'worker-back', nowMs: this.nowMs, worker }),
      // It is looked for at the port where it serves its data; without one its lease decides.
      died: () => {
        if (hello.address !== null) end.terminate('the process ended');
      },
      closed: (reason) => {
        this.#workers.delete(worker);
        this.#relay.askerGone('worker', worker);
        for (const { asker, why } of this.#relay.workerGone(worker)) {
          this.#refuse(asker, dataFailed(asker.request, why));
        }
        this.#push({ kind: 'worker-lost', nowMs: this.nowMs, worker, reason });
      },
    });
  }

  #asker({ role, session }: Asker): WireEnd | undefined {
    return role === 'client' ? this.#clients.get(session) : this.#workers.get(session);
  }

  #refuse(asker: Asker, message: Message): void {
    const speaker = asker.role === 'client' ? 'client-bound' : 'worker-bound';
    this.#wire.send(this.#asker(asker), speaker, message);
  }

  #push(event: SchedulerEvent): void {
    this.#events.push(event);
    if (this.#isDue) return;
    this.#isDue = true;
    const { loopMs } = this.#world.scenario.settings;
    this.process.after(loopMs * this.#random.fraction(), () => this.#handle());
  }

  #handle(): void {
    this.#isDue = false;
    if (this.#exitReason !== null) return;
    const events = this.#events;
    this.#events = [];
    const { trace, checks, clock, coverage } = this.#world;
    coverage.events(events);
    for (const event of events) trace.note(clock.nowMs, 'scheduler', event);
    checks.schedulerHears(events);
    const instructions = this.core.handle(events);
    this.#handled += 1;
    if (this.#handled % checks.validateEvery === 0) this.core.validate();
    checks.schedulerSays(instructions);
    for (const instruction of instructions) {
      trace.note(clock.nowMs, 'scheduler', instruction);
      coverage.instruction(instruction);
      this.#perform(instruction);
    }
  }

  #perform(instruction: SchedulerInstruction): void {
    switch (instruction.do) {
      case 'to-client':
        this.#wire.send(this.#clients.get(instruction.client), 'client-bound', instruction.message);
        return;
      case 'to-worker':
        this.#wire.send(this.#workers.get(instruction.worker), 'worker-bound', instruction.message);
        return;
      case 'send-data': {
        const { asker, totalBytes, offset, bytes } = instruction;
        const { request } = asker;
        this.#wire.sendBulk(this.#asker(asker), { request, totalBytes, offset, bytes });
        return;
      }
      case 'relay-data': {
        const { asker, worker } = instruction;
        const end = this.#workers.get(worker);
        if (end === undefined) {
          const why = failure('ERR_LOST_DATA', 'the holder is gone', '', null, null);
          this.#refuse(asker, dataFailed(asker.request, why));
        } else this.#wire.send(end, 'worker-bound', this.#relay.begin(instruction));
        return;
      }
      case 'refuse-data':
        this.#refuse(instruction.asker, dataFailed(instruction.asker.request, instruction.failure));
        return;
      case 'drop-client':
        this.#clients.get(instruction.client)?.close(instruction.reason);
        return;
      case 'drop-worker':
        this.#workers.get(instruction.worker)?.close(instruction.reason);
        return;
      case 'wake-at':
        this.#world.clock.cancel(this.#wake);
        this.#wake = this.process.after(Math.max(0, instruction.atMs - this.nowMs), () => {
          this.#push({ kind: 'tick', nowMs: this.nowMs });
        });
        return;
      case 'log':
      case 'observe': // there are no plugins
      case 'load-plugin':
      case 'unload-plugin':
        return;
      case 'exit':
        this.#exitReason = instruction.reason;
        for (const end of [...this.#clients.values(), ...this.#workers.values()]) {
          end.close(instruction.reason);
        }
        return;
      default:
        instruction satisfies never;
    }
  }
}
