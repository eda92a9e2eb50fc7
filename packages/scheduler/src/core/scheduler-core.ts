import type { ClientMessage, SchedulerInfo, WorkerHello, WorkerMessage } from '@farm/protocol/core';

import { endLeases, loseClient, loseSight, regainClient, regainSight, runLeases } from './away.ts';
import { RangeTable } from './collections/range-table.ts';
import { resolveConfig } from './config.ts';
import type { SchedulerConfig } from './config.ts';
import { expireWaiting } from './coordination/answers.ts';
import { sharedCount } from './coordination/sessions.ts';
import { endDelays } from './delays.ts';
import type { SchedulerEvent } from './events.ts';
import type { TaskCounts } from './task-counts.ts';
import { defineFunction } from './functions.ts';
import { warnOfHeldUp } from './held-up.ts';
import { schedulerInfo } from './info.ts';
import type { SchedulerInstruction } from './instructions.ts';
import { beginShutdown, checkTime } from './lifecycle.ts';
import { addWorker, findRefusal, removeWorker, retireWorker } from './membership.ts';
import { observe, observedClient, setObserving } from './observations.ts';
import { place } from './placement.ts';
import { cancelRange, releaseRange, removeClient, retryTasks } from './release.ts';
import { settlePlugins, takePluginSet } from './plugin-rounds.ts';
import {
  answerPluginLoaded,
  answerWorkersAwaited,
  takeAsk,
  takeGetRelayed,
  takeGetResult,
} from './requests.ts';
import { laneOf } from './ready-queue.ts';
import { dropSurplus } from './replication.ts';
import { internRequirement } from './requirements.ts';
import { advanceDrain, restartPaused, takeDraining } from './retire.ts';
import { placeScatters, takeScatter } from './scatter.ts';
import { speculate } from './speculation.ts';
import { ClientState } from './state.ts';
import type { Submission, WorkerState } from './state.ts';
import { steal } from './stealing.ts';
import { takeSubmit } from './submission.ts';
import { Tables } from './tables.ts';
import { settle } from './transitions.ts';
import { validateTables } from './validate.ts';
import {
  takeAcquireFailed,
  takeFinished,
  takeHeartbeat,
  takeHolding,
  takeInputMissing,
  takeLost,
  takeRunFailed,
  takeRunUsage,
  takeSeceded,
  takeStopped,
} from './worker-reports.ts';

/** Sizes of the tables, and what has been counted since the start. */
export interface SchedulerStatistics {
  readonly clients: number;
  readonly workers: number;
  readonly blocks: number;
  readonly functions: number;
  readonly requirements: number;
  /** Runs assigned so far. */
  readonly runs: number;
  /** Reports about runs that were given up or are unknown. */
  readonly staleReports: number;
  /** Unstarted runs that idle workers got from loaded ones, and that these would not give up. */
  readonly runsMoved: number;
  readonly runsKept: number;
  /** Second runs begun beside slow ones. */
  readonly runsCopied: number;
  /** Small results kept, and what they are counted as. */
  readonly values: number;
  readonly valueBytes: number;
  /** Names of shared objects and values of the metadata, and the bytes of shared values. */
  readonly shared: number;
  readonly sharedBytes: number;
}

/**
 * The scheduler without its sockets: a state machine that is told what happened and answers what to
 * do. The same events give the same instructions.
 *
 * @example
 * const core = new SchedulerCore({ id, address: 'tcp://127.0.0.1:8786', startedMs });
 * for (const instruction of core.handle(events)) perform(instruction);
 */
export class SchedulerCore {
  readonly #tables: Tables;

  constructor(config: SchedulerConfig) {
    this.#tables = new Tables(resolveConfig(config));
    setObserving(this.#tables, this.#tables.config.observe);
    internRequirement(this.#tables, { resources: [], workers: [], allowOtherWorkers: false });
  }

  /**
   * Why a worker would be sent away if it connected now, for an answer to its handshake; null where
   * it is welcome. Changes nothing.
   */
  refusal(hello: WorkerHello): string | null {
    return findRefusal(this.#tables, hello);
  }

  /**
   * Takes in what happened, in order; then places ready tasks, once; then tells what to do.
   *
   * @throws FarmError `ERR_INTERNAL` where the scheduler itself is wrong. No peer can cause that.
   */
  handle(events: readonly SchedulerEvent[]): readonly SchedulerInstruction[] {
    const tables = this.#tables;
    for (const event of events) {
      // A clock that is set back tells of no time that passed, and goes on from there.
      const passedMs = Math.max(0, event.nowMs - tables.clockMs);
      tables.clockMs = event.nowMs;
      tables.nowMs += passedMs;
      runLeases(tables, passedMs);
      this.#take(event);
      settle(tables);
    }
    expireWaiting(tables);
    endLeases(tables);
    endDelays(tables);
    settle(tables);
    placeScatters(tables);
    settlePlugins(tables);
    restartPaused(tables);
    advanceDrain(tables);
    dropSurplus(tables);
    settle(tables);
    tables.cause = 'placed';
    const { nextRun: firstNew } = tables;
    place(tables);
    steal(tables, firstNew);
    speculate(tables);
    settle(tables);
    answerWorkersAwaited(tables);
    checkTime(tables);
    return tables.outbox.flush();
  }

  /** Identity, workers and task counts. */
  info(nowMs: number): SchedulerInfo {
    return schedulerInfo(this.#tables, nowMs, null);
  }

  /** Number of tasks in each state. Forgotten ones are not counted. */
  counts(): Readonly<TaskCounts> {
    return { ...this.#tables.counts };
  }

  /** How full the tables are. All but `requirements`, which keeps one, go back to nothing. */
  statistics(): SchedulerStatistics {
    const { clients, workers, blocks, functions, requirements, values } = this.#tables;
    return {
      clients: clients.size,
      workers: workers.size,
      blocks: blocks.size,
      functions: functions.size,
      requirements: requirements.size,
      runs: this.#tables.nextRun - 1,
      staleReports: this.#tables.staleReports,
      runsMoved: this.#tables.runsMoved,
      runsKept: this.#tables.runsKept,
      runsCopied: this.#tables.runsCopied,
      values: values.count,
      valueBytes: values.bytes,
      shared: sharedCount(this.#tables),
      sharedBytes: this.#tables.coordination.items.bytes,
    };
  }

  /**
   * Checks everything that must hold between two `handle`s. Takes time; for tests and simulation.
   *
   * @throws FarmError `ERR_INTERNAL` naming what does not hold.
   */
  validate(): void {
    validateTables(this.#tables);
  }

  #take(event: SchedulerEvent): void {
    const tables = this.#tables;
    tables.cause = event.kind;
    switch (event.kind) {
      case 'client-connected':
        this.#addClient(event.client, event.hello);
        break;
      case 'client-said': {
        const client = tables.clients.get(event.client);
        if (client === undefined) break;
        const wrong = this.#hearClient(client, event.message);
        if (wrong !== null) this.#dropClient(client, wrong);
        break;
      }
      case 'client-lost': {
        const client = tables.clients.get(event.client);
        if (client === undefined) break;
        tables.cause = `client ${client.hello.name} lost: ${event.reason}`;
        removeClient(tables, client);
        break;
      }
      case 'client-away': {
        const client = tables.clients.get(event.client);
        if (client !== undefined) loseClient(tables, client, event.reason);
        break;
      }
      case 'client-back': {
        const client = tables.clients.get(event.client);
        if (client !== undefined) regainClient(tables, client);
        break;
      }
      case 'worker-connected':
        tables.cause = `worker ${event.hello.name} joined`;
        addWorker(tables, event.worker, event.hello);
        break;
      case 'worker-said': {
        const worker = tables.workers.get(event.worker);
        if (worker === undefined) break;
        worker.heardMs = tables.nowMs;
        this.#hearWorker(worker, event.message);
        break;
      }
      case 'worker-lost': {
        const worker = tables.workers.get(event.worker);
        if (worker !== undefined) removeWorker(tables, worker, event.reason);
        break;
      }
      case 'worker-away': {
        const worker = tables.workers.get(event.worker);
        if (worker !== undefined) loseSight(tables, worker, event.reason);
        break;
      }
      case 'worker-back': {
        const worker = tables.workers.get(event.worker);
        if (worker !== undefined) regainSight(tables, worker);
        break;
      }
      case 'tick':
        warnOfHeldUp(tables);
        break;
      case 'plugin-loaded':
        setObserving(tables, event.observe);
        answerPluginLoaded(tables, event);
        break;
      case 'shutdown-asked':
        beginShutdown(tables, event.reason);
        break;
      default:
        event satisfies never;
    }
  }

  /** Returns what is wrong with a message, or null. */
  #hearClient(client: ClientState, message: ClientMessage): string | null {
    const tables = this.#tables;
    tables.cause = message.op;
    switch (message.op) {
      case 'define-function':
        defineFunction(tables, client, message);
        return null;
      case 'submit':
        return takeSubmit(tables, client, message);
      case 'scatter':
        return takeScatter(tables, client, message);
      case 'release':
        eachRange(message.ranges, (first, count) => releaseRange(tables, client, first, count));
        return null;
      case 'cancel':
        tables.cause = `cancelled: ${message.reason}`;
        eachRange(message.ranges, (first, count) =>
          cancelRange(tables, client, { first, count }, message.reason),
        );
        return null;
      case 'retry':
        retryTasks(tables, client, message.ids);
        return null;
      case 'get-result':
        takeGetResult(tables, client, message);
        return null;
      case 'ask':
        takeAsk(tables, client, message);
        return null;
      case 'client-heartbeat':
        return null;
      case 'close-client':
        removeClient(tables, client);
        return null;
      case 'shutdown':
        beginShutdown(tables, message.reason);
        return null;
      default:
        message satisfies never;
        return 'unknown message';
    }
  }

  #hearWorker(worker: WorkerState, message: WorkerMessage): void {
    const tables = this.#tables;
    tables.cause = message.op;
    switch (message.op) {
      case 'finished':
        takeFinished(tables, worker, message);
        break;
      case 'run-failed':
        takeRunFailed(tables, worker, message);
        break;
      case 'stopped':
        takeStopped(tables, worker, message);
        break;
      case 'seceded':
        takeSeceded(tables, worker, message);
        break;
      case 'holding':
        takeHolding(tables, worker, message);
        break;
      case 'run-usage':
        takeRunUsage(worker, message);
        break;
      case 'lost':
        takeLost(tables, worker, message);
        break;
      case 'acquire-failed':
        takeAcquireFailed(tables, worker, message);
        break;
      case 'input-missing':
        takeInputMissing(tables, worker, message);
        break;
      case 'get-relayed':
        takeGetRelayed(tables, worker, message);
        break;
      case 'worker-heartbeat':
        takeHeartbeat(tables, worker, message);
        break;
      case 'plugin-set':
        takePluginSet(tables, worker, message);
        break;
      case 'draining':
        takeDraining(tables, worker);
        break;
      case 'leaving':
        worker.hasSaidLeaving = true;
        retireWorker(tables, worker);
        break;
      case 'data-failed':
        // An answer to a relayed request, which is the shell's affair.
        break;
      default:
        message satisfies never;
    }
  }

  #addClient(session: string, hello: ClientState['hello']): void {
    const tables = this.#tables;
    if (tables.closing !== null) {
      const reason = `the scheduler is closing: ${tables.closing.reason}`;
      tables.outbox.instruct({ do: 'drop-client', client: session, reason });
      return;
    }
    const futures = new RangeTable<Submission>();
    const lane = laneOf(tables, hello);
    const client = new ClientState(session, hello, futures, lane);
    tables.clients.set(session, client);
    tables.busyMs = tables.nowMs;
    if (!tables.isObserved) return;
    observe(tables, { kind: 'addClient', about: observedClient(client) });
  }

  #dropClient(client: ClientState, reason: string): void {
    const tables = this.#tables;
    tables.cause = `client ${client.hello.name} dropped: ${reason}`;
    const { session } = client;
    tables.outbox.instruct({ do: 'log', level: 'warn', message: tables.cause });
    tables.outbox.instruct({ do: 'drop-client', client: session, reason });
    removeClient(tables, client);
  }
}

/** Visits `[first, count, first, count]` pair by pair; what is no range is left out. */
function eachRange(ranges: readonly number[], visit: (first: number, count: number) => void): void {
  for (let at = 0; at + 1 < ranges.length; at += 2) {
    const first = ranges[at] ?? 0;
    const count = ranges[at + 1] ?? 0;
    if (count > 0) visit(first, count);
  }
}
