import { Checks } from './checkers/checks.ts';
import { Clock } from './clock.ts';
import type { Cores } from './cores.ts';
import type { Coverage } from './coverage.ts';
import { check } from './failure.ts';
import { Network } from './network.ts';
import { Oracle } from './oracle.ts';
import type { SimulatedProcess } from './process.ts';
import { RESCUER } from './scenario.ts';
import type { FaultAction, Scenario, WorkerPlan } from './scenario.ts';
import { SimulatedClient } from './simulated-client.ts';
import { SimulatedScheduler } from './simulated-scheduler.ts';
import { SimulatedWorker } from './simulated-worker.ts';
import type { WorkerEnd } from './simulated-worker.ts';
import { Trace } from './trace.ts';
import type { Payload } from './wire.ts';
import { SCHEDULER_HOST } from './world.ts';
import type { World } from './world.ts';

/** Peers that are silent for so long are dead, as in production. */
const SILENCE_MS = 15_000;
/** Opening a connection fails after so long, as in production. */
const DIAL_MS = 10_000;

/** A nanny starts a worker again after so long. */
const NANNY_MS = 500;

/** A whole cluster in virtual time, with hands that break it. */
export class SimulatedCluster {
  readonly world: World;
  readonly clock: Clock;
  readonly scheduler: SimulatedScheduler;
  readonly clients: readonly SimulatedClient[];
  readonly #scenario: Scenario;
  /** By name; those that are down are there, too. */
  readonly #workers = new Map<string, SimulatedWorker>();
  /** Workers that came for a while only. */
  readonly #guests = new Set<SimulatedWorker>();
  /** What mends what is broken, where it has not mended itself. */
  readonly #mends = new Set<() => void>();
  #processes = 0;
  #isHealed = false;

  constructor(scenario: Scenario, cores: Cores, coverage: Coverage) {
    const clock = new Clock();
    const oracle = new Oracle(scenario);
    const checks = new Checks(scenario, oracle);
    const { delayMs, jitter } = scenario.settings;
    const settings = { delayMs, jitter, silenceMs: SILENCE_MS, dialMs: DIAL_MS };
    this.#scenario = scenario;
    this.clock = clock;
    this.world = {
      scenario,
      cores,
      clock,
      network: new Network<Payload>(clock, scenario.seed, settings),
      oracle,
      trace: new Trace(),
      coverage,
      checks,
    };
    coverage.reset(scenario, {
      keyOfRun: (session, run) => checks.assignments.keyOfRun(session, run),
      keysOn: (session) => checks.assignments.keysOn(session),
      keyOfTask: (task) => checks.assignments.keyOfTask(task),
    });
    this.scheduler = new SimulatedScheduler(this.world);
    for (const plan of scenario.workers) {
      if (plan.joinAtMs < Infinity) clock.at(plan.joinAtMs, () => this.#start(plan));
    }
    this.clients = scenario.clients.map((plan) => new SimulatedClient(this.world, plan));
    for (const { atMs, client, action } of scenario.ops) {
      clock.at(atMs, () => this.clients[client]?.act(action));
    }
    for (const { atMs, action } of scenario.faults) {
      clock.at(atMs, () => {
        if (this.#isHealed) return;
        coverage.fault(action.kind);
        this.#break(action);
      });
    }
  }

  /** Workers whose process lives. */
  get workers(): readonly SimulatedWorker[] {
    return [...this.#workers.values(), ...this.#guests].filter(({ process }) => !process.isDead);
  }

  /** Faults end, what is down comes back, and somebody who can do anything joins. */
  heal(): void {
    this.#isHealed = true;
    for (const mend of [...this.#mends]) mend();
    for (const plan of this.#scenario.workers) this.#start(plan);
    this.#start({
      id: RESCUER,
      name: RESCUER,
      host: 'rescuer-host',
      nthreads: 4,
      resources: [
        ['GPU', 4],
        ['MEM', 100],
      ],
      joinAtMs: 0,
      isReachable: true,
      memoryLimitBytes: null,
    });
  }

  /** Cancels what would never end. */
  cancelEndless(): void {
    for (const client of this.clients) {
      client.act({ kind: 'gather', refs: [] });
      const endless = [...client.futures.values()].filter(({ state, ref }) => {
        return state === 'pending' && this.world.oracle.isEndless(ref);
      });
      client.cancel(endless);
    }
  }

  #start(plan: WorkerPlan): void {
    if (this.scheduler.isClosing) return;
    if (this.#workers.get(plan.name)?.process.isDead === false) return;
    const worker = this.#newWorker(plan, (how) => {
      // Its nanny tries again: an earlier process of that name may not be missed yet.
      // Those that were retired come back as well, once nothing is to go wrong any more.
      const isWanted = how === 'refused' || (how === 'closed' && this.#isHealed);
      if (isWanted) this.clock.after(NANNY_MS, () => this.#start(plan));
    });
    this.#workers.set(plan.name, worker);
  }

  #newWorker(plan: WorkerPlan, ended: (how: WorkerEnd) => void): SimulatedWorker {
    const number = ++this.#processes;
    const worker: SimulatedWorker = new SimulatedWorker(this.world, plan, {
      number,
      ended,
      killed: () => this.#kill(worker, false, 100),
    });
    return worker;
  }

  #worker(index: number): SimulatedWorker | undefined {
    return this.#workers.get(this.#scenario.workers[index]?.name ?? '');
  }

  #kill(worker: SimulatedWorker, isSilent: boolean, restartMs: number | null): void {
    if (worker.process.isDead) return;
    worker.kill(isSilent);
    // Guests do not come back.
    if (restartMs === null || this.#workers.get(worker.plan.name) !== worker) return;
    this.clock.after(restartMs, () => this.#start(worker.plan));
  }

  /** Does something, and undoes it after a while or when faults end. */
  #forAWhile(forMs: number, mend: () => void): void {
    const once = (): void => {
      if (this.#mends.delete(once)) mend();
    };
    this.#mends.add(once);
    this.clock.after(forMs, once);
  }

  #break(action: FaultAction): void {
    const { network } = this.world;
    switch (action.kind) {
      case 'crash':
      case 'silent-death': {
        const worker = this.#worker(action.worker);
        if (worker !== undefined) {
          this.#kill(worker, action.kind === 'silent-death', action.restartMs);
        }
        break;
      }
      case 'crash-all':
        for (const worker of this.workers) this.#kill(worker, false, action.restartMs);
        break;
      case 'pause': {
        const process = this.#worker(action.worker)?.process;
        process?.pause();
        this.#forAWhile(action.forMs, () => process?.resume());
        break;
      }
      case 'drop-link': {
        const worker = this.#worker(action.worker);
        if (worker === undefined) break;
        for (const end of network.link(worker.plan.host, SCHEDULER_HOST).ends) {
          if (end.owner === worker.process) end.terminate('the connection was reset');
        }
        break;
      }
      case 'link-drop-resume': {
        const worker = this.#worker(action.worker);
        if (worker !== undefined) this.#detach(worker, action.forMs);
        break;
      }
      case 'lease-expiry': {
        const worker = this.#worker(action.worker);
        const { leaseMs } = this.#scenario.settings;
        if (worker !== undefined) this.#detach(worker, leaseMs + action.beyondMs);
        break;
      }
      case 'client-drop-resume': {
        const client = this.clients[action.client];
        if (client !== undefined) this.#detach(client, action.forMs);
        break;
      }
      case 'client-lease-expiry': {
        const client = this.clients[action.client];
        const { leaseMs } = this.#scenario.settings;
        if (client !== undefined) this.#detach(client, leaseMs + action.beyondMs);
        break;
      }
      case 'cut-link':
        this.#cut(this.#scenario.workers[action.worker]?.host, SCHEDULER_HOST, action.forMs);
        break;
      case 'partition': {
        const { workers } = this.#scenario;
        this.#cut(workers[action.a]?.host, workers[action.b]?.host, action.forMs);
        break;
      }
      case 'delay':
        network.slowness *= action.factor;
        this.#forAWhile(action.forMs, () => {
          network.slowness /= action.factor;
        });
        break;
      case 'slow-consumer': {
        const host = this.#scenario.workers[action.worker]?.host ?? '';
        this.#slowDown(host, action.isInbound ? SCHEDULER_HOST : host, action);
        break;
      }
      case 'slow-client': {
        const host = this.clients[action.client]?.process.host ?? '';
        this.#slowDown(host, SCHEDULER_HOST, action);
        break;
      }
      case 'storm':
        for (let i = 0; i < action.workers; i++) this.#invite(i, action.forMs);
        break;
      case 'leave': {
        const worker = this.#worker(action.worker);
        if (worker === undefined || worker.process.isDead) break;
        if (action.graceMs === null) worker.askClose('asked to leave');
        else worker.askDrain('asked to leave', action.graceMs);
        if (action.rejoinMs !== null)
          this.clock.after(action.rejoinMs, () => this.#start(worker.plan));
        break;
      }
      case 'duplicate-name': {
        const plan = this.#scenario.workers[action.worker];
        if (plan === undefined) break;
        const impostor: SimulatedWorker = this.#newWorker(plan, () =>
          this.#guests.delete(impostor),
        );
        this.#guests.add(impostor);
        // One that got in, since the name was free, leaves when things are well.
        this.#forAWhile(1_000, () => impostor.askClose('it was a guest'));
        break;
      }
      case 'stall': {
        const { process } = this.scheduler;
        process.pause();
        this.#forAWhile(action.forMs, () => process.resume());
        break;
      }
      case 'freeze-all': {
        const processes = [...this.workers, ...this.clients, this.scheduler].map(
          (one) => one.process,
        );
        for (const process of processes) process.pause();
        this.#forAWhile(action.forMs, () => {
          for (const process of processes) process.resume();
        });
        break;
      }
      case 'clock-jump':
        this.scheduler.jump(action.byMs);
        break;
      case 'client-vanishes':
        this.clients[action.client]?.vanish(action.client % 2 === 0);
        break;
      case 'client-closes':
        this.clients[action.client]?.close();
        break;
      case 'memory-pressure': {
        const memory = this.#worker(action.worker)?.memory;
        if (memory === undefined) break;
        memory.pressure += action.part;
        this.#forAWhile(action.forMs, () => {
          memory.pressure -= action.part;
        });
        break;
      }
      case 'disk-full': {
        const memory = this.#worker(action.worker)?.memory;
        if (memory === undefined) break;
        memory.isDiskFull = true;
        this.#forAWhile(action.forMs, () => {
          memory.isDiskFull = false;
        });
        break;
      }
      case 'spill-files-lost':
        this.#worker(action.worker)?.session?.store.damageFiles();
        break;
      default:
        action satisfies never;
    }
  }

  /** Its socket to the scheduler is lost for a while; it takes up its session after that. */
  #detach({ process }: { readonly process: SimulatedProcess }, forMs: number): void {
    for (const end of this.world.network.link(process.host, SCHEDULER_HOST).ends) {
      if (end.owner !== process || end.isDetached) continue;
      end.detach('the connection was reset');
      this.#forAWhile(forMs, () => end.attach());
    }
  }

  #cut(hostA: string | undefined, hostB: string | undefined, forMs: number): void {
    if (hostA === undefined || hostB === undefined || hostA === hostB) return;
    const link = this.world.network.link(hostA, hostB);
    link.cut();
    this.#forAWhile(forMs, () => link.mend());
  }

  #slowDown(
    host: string,
    speaker: string,
    { factor, forMs }: { factor: number; forMs: number },
  ): void {
    const link = this.world.network.link(host, SCHEDULER_HOST);
    link.slowDown(speaker, factor);
    this.#forAWhile(forMs, () => link.slowDown(speaker, 1));
  }

  #invite(number: number, forMs: number): void {
    const plan: WorkerPlan = {
      id: `guest-${number}`,
      name: `guest-${this.#processes}-${number}`,
      host: `guest-host-${number}`,
      nthreads: 1 + (number % 3),
      resources: number % 2 === 0 ? [] : [['GPU', 1]],
      joinAtMs: 0,
      isReachable: true,
      memoryLimitBytes: null,
    };
    const guest: SimulatedWorker = this.#newWorker(plan, () => this.#guests.delete(guest));
    this.#guests.add(guest);
    this.#forAWhile(forMs, () => {
      if (number % 3 === 0) guest.kill(false);
      else guest.askClose('the storm is over');
    });
  }

  /** Checks that nothing is left once nobody wants anything. Null where all is well. */
  findLeftovers(): string | null {
    const statistics = this.scheduler.core.statistics();
    const { blocks, functions, requirements, values, valueBytes, shared } = statistics;
    if (blocks + functions + values + valueBytes + shared > 0 || requirements !== 1) {
      return `the scheduler keeps ${JSON.stringify(statistics)}`;
    }
    const tasks = Object.entries(this.scheduler.core.counts()).filter(([, count]) => count !== 0);
    if (tasks.length > 0) return `the scheduler counts ${JSON.stringify(tasks)}`;
    for (const { name, processing } of this.scheduler.core.info(this.scheduler.nowMs).workers) {
      if (processing > 0) return `the scheduler counts ${processing} runs on ${name}`;
    }
    for (const { session, plan } of this.workers) {
      if (session === null) continue;
      const { runs, ready, slotted, data, functions } = session.core.counts();
      if (runs + ready + slotted + data + functions + session.store.size > 0) {
        return `${plan.name} keeps ${JSON.stringify(session.core.counts())}, stored: ${session.store.size}`;
      }
    }
    return null;
  }

  /** Full validation of all cores. */
  validate(): void {
    this.scheduler.core.validate();
    for (const { session } of this.workers) session?.core.validate();
    check(this.scheduler.exitReason === null, 'messages', 'the scheduler has ended');
  }
}
