/**
 * Messages on their way out. Everything one `handle` says to one peer is put into as few messages
 * as order allows: what follows something of the same kind joins it.
 */
import { cancelled, failed, free, recomputing, stop } from '@farm/protocol/core';
import type { ClientBoundMessage, Failure, WorkerBoundMessage } from '@farm/protocol/core';

import type { SchedulerInstruction } from './instructions.ts';
import { ResultsBatch } from './results-batch.ts';
import { RunBatch } from './run-batch.ts';
import type { Assignment, Block, ClientState, TaskState, WorkerState } from './state.ts';

/** A message for a client, growing. */
export type ClientBatch =
  | { readonly kind: 'results'; readonly results: ResultsBatch }
  | { readonly kind: 'failed'; readonly ids: number[]; readonly failure: Failure }
  | { readonly kind: 'cancelled'; readonly ids: number[]; readonly reason: string }
  | { readonly kind: 'recomputing'; readonly ids: number[] }
  | { readonly kind: 'message'; readonly message: ClientBoundMessage };

/** What is to be said to a worker. Messages are as they are sent; what may still grow is named. */
export interface WorkerLine {
  readonly messages: (WorkerBoundMessage | RunBatch)[];
  /** The last batch of runs, if it may still grow: nothing but runs was said since. */
  last: RunBatch | null;
  /** All batches of runs that may still grow, where there are several. */
  open: Map<Block, RunBatch> | null;
  /** Tasks of the last message, where that frees some. */
  freed: number[] | null;
  /** Runs of the last message, where that stops some. */
  stopped: { readonly runs: number[]; readonly running: boolean } | null;
}

/** Collects what is to be done until the end of a `handle`. */
export class Outbox {
  /** Those with something outgoing. Arrays, for why see `ascending-map.ts`. */
  readonly #clients: ClientState[] = [];
  readonly #workers: WorkerState[] = [];
  /**
   * What is to be said to each of `#workers`. A worker knows its place here, and does not refer to
   * its line: a reference from each of thousands of old records to a new one is work for the garbage
   * collector. Null for workers that are gone.
   */
  readonly #lines: (WorkerLine | null)[] = [];
  readonly #others: SchedulerInstruction[] = [];

  /** Anything that is not a message; done after all messages. */
  instruct(instruction: SchedulerInstruction): void {
    this.#others.push(instruction);
  }

  toClient(client: ClientState, message: ClientBoundMessage): void {
    this.#client(client).push({ kind: 'message', message });
  }

  /** A result for a client; `value` from `start` to `end` where it is at hand. */
  result(
    client: ClientState,
    id: number,
    task: TaskState,
    value: Uint8Array | null,
    start: number,
    end: number,
  ): void {
    const batches = this.#client(client);
    const last = batches.at(-1);
    if (last?.kind === 'results' && !last.results.isFull) {
      last.results.add(id, task, value, start, end);
      return;
    }
    batches.push({ kind: 'results', results: new ResultsBatch(id, task, value, start, end) });
  }

  failed(client: ClientState, id: number, failure: Failure): void {
    const batches = this.#client(client);
    const last = batches.at(-1);
    if (last?.kind === 'failed' && last.failure === failure) last.ids.push(id);
    else batches.push({ kind: 'failed', ids: [id], failure });
  }

  cancelled(client: ClientState, id: number, reason: string): void {
    const batches = this.#client(client);
    const last = batches.at(-1);
    if (last?.kind === 'cancelled' && last.reason === reason) last.ids.push(id);
    else batches.push({ kind: 'cancelled', ids: [id], reason });
  }

  recomputing(client: ClientState, id: number): void {
    const batches = this.#client(client);
    const last = batches.at(-1);
    if (last?.kind === 'recomputing') last.ids.push(id);
    else batches.push({ kind: 'recomputing', ids: [id] });
  }

  toWorker(worker: WorkerState, message: WorkerBoundMessage): void {
    this.#say(worker, message);
  }

  free(worker: WorkerState, task: number): void {
    const freed = this.#lineOf(worker)?.freed ?? null;
    if (freed !== null) {
      freed.push(task);
      return;
    }
    const tasks = [task];
    this.#say(worker, free(tasks)).freed = tasks;
  }

  /** Gives up a run, running or, with `running` false, only if it has not started. */
  stop(worker: WorkerState, runId: number, running = true): void {
    const stopped = this.#lineOf(worker)?.stopped ?? null;
    if (stopped?.running === running) {
      stopped.runs.push(runId);
      return;
    }
    const runs = [runId];
    this.#say(worker, stop(runs, running)).stopped = { runs, running };
  }

  /** A run for a worker; the function has been defined there. */
  run(assignment: Assignment, task: TaskState): void {
    const { worker, requirement } = assignment;
    const { block } = task;
    const line = this.#lineOf(worker);
    const batch = line === null ? undefined : openRuns(line, block);
    if (batch !== undefined && !batch.isFull && batch.requirement === requirement) {
      batch.add(task, assignment);
      return;
    }
    const { last = null, open = null } = line ?? {};
    const begun = new RunBatch(task, assignment);
    const said = this.#say(worker, begun);
    // Runs of several blocks grow side by side.
    if (last !== null) said.open = open ?? new Map([[last.block, last]]);
    said.open?.set(block, begun);
    said.last = begun;
  }

  /** A worker is gone: what was to be said to it is not. */
  forgetWorker(worker: WorkerState): void {
    if (worker.lineAt < 0) return;
    this.#lines[worker.lineAt] = null;
    worker.lineAt = -1;
  }

  /** Everything collected, workers first: results that clients wait for follow at once. */
  flush(): SchedulerInstruction[] {
    const out: SchedulerInstruction[] = [];
    for (let at = 0; at < this.#workers.length; at++) {
      const worker = this.#workers[at];
      const line = this.#lines[at] ?? null;
      if (worker === undefined || line === null) continue;
      const { session } = worker;
      worker.lineAt = -1;
      for (const said of line.messages) {
        const message = said instanceof RunBatch ? said.build() : said;
        out.push({ do: 'to-worker', worker: session, message });
      }
    }
    for (const client of this.#clients) {
      const { session, outgoing } = client;
      client.outgoing = null;
      for (const batch of outgoing ?? []) {
        out.push({ do: 'to-client', client: session, message: clientMessage(batch) });
      }
    }
    for (const instruction of this.#others) out.push(instruction);
    this.#workers.length = 0;
    this.#lines.length = 0;
    this.#clients.length = 0;
    this.#others.length = 0;
    return out;
  }

  #lineOf({ lineAt }: WorkerState): WorkerLine | null {
    return lineAt < 0 ? null : (this.#lines[lineAt] ?? null);
  }

  #client(client: ClientState): ClientBatch[] {
    if (client.outgoing !== null) return client.outgoing;
    this.#clients.push(client);
    client.outgoing = [];
    return client.outgoing;
  }

  /** Says something new: nothing that was said before it grows any more. */
  #say(worker: WorkerState, said: WorkerBoundMessage | RunBatch): WorkerLine {
    const line = this.#lineOf(worker);
    if (line === null) {
      worker.lineAt = this.#workers.push(worker) - 1;
      const messages = [said];
      const begun = { messages, last: null, open: null, freed: null, stopped: null };
      this.#lines.push(begun);
      return begun;
    }
    line.messages.push(said);
    line.last = null;
    line.open = null;
    line.freed = null;
    line.stopped = null;
    return line;
  }
}

/** The batch of runs of a block that may still grow. */
function openRuns({ last, open }: WorkerLine, block: Block): RunBatch | undefined {
  return last?.block === block ? last : open?.get(block);
}

function clientMessage(batch: ClientBatch): ClientBoundMessage {
  switch (batch.kind) {
    case 'results':
      return batch.results.build();
    case 'failed':
      return failed(batch.ids, batch.failure);
    case 'cancelled':
      return cancelled(batch.ids, batch.reason);
    case 'recomputing':
      return recomputing(batch.ids);
    case 'message':
      return batch.message;
  }
}
