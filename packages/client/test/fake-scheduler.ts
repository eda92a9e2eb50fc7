import {
  type AcceptedConnections,
  type ClientMessage,
  type Failure,
  type SchedulerInfo,
  type Submit,
  type WorkerInfo,
  accepted,
  blockKey,
  cancelled,
  dataFailed,
  failed,
  failure,
  inprocPair,
  recomputing,
  reply,
  results,
  u32At,
} from '@farm/protocol';
import { decodeValue, encodeError, encodeValue } from '@farm/protocol/value';

import { Session } from '../src/session.ts';
import { Submitter } from '../src/submitter.ts';

type ClientSide = AcceptedConnections['client'];

/** A task as the fake scheduler was told about it. */
export interface FakeTask {
  readonly id: number;
  readonly key: string;
  readonly fn: string;
  readonly args: Uint8Array;
  readonly deps: readonly number[];
  readonly options: Submit['options'];
}

export const WORKER: WorkerInfo = {
  name: 'w-0',
  status: 'running',
  address: null,
  host: 'node1',
  pid: 1,
  nthreads: 2,
  resources: [],
  memoryLimitBytes: 2 ** 30,
  localDirectory: '/tmp',
  nanny: false,
  processing: 0,
  occupancyMs: 0,
  metrics: null,
  silentMs: 0,
};

const NO_TASKS: SchedulerInfo['tasks'] = {
  released: 0,
  waiting: 0,
  queued: 0,
  'no-worker': 0,
  processing: 0,
  memory: 0,
  erred: 0,
  forgotten: 0,
};

/**
 * The scheduler's end of a client's connection, as a test directs it: remembers what the client
 * said, and says what the test wants. Answers questions by itself.
 */
export class FakeScheduler {
  readonly messages: ClientMessage[] = [];
  readonly tasks = new Map<number, FakeTask>();
  readonly functions = new Map<string, Uint8Array>();
  /** Bytes that get-result serves. */
  readonly stored = new Map<number, Uint8Array>();
  workers: readonly WorkerInfo[] = [WORKER];
  /** What is said to be held up, for those who ask. */
  heldUp: readonly string[] = [];
  /** Tasks in each state, for those who ask. */
  counts: SchedulerInfo['tasks'] = NO_TASKS;
  /** Called for each get-result before it is answered; true where the test answers. */
  onGetResult: (request: number, id: number) => boolean = () => false;
  readonly #connection: ClientSide;
  #changed = Promise.withResolvers<void>();

  constructor(connection: ClientSide) {
    this.#connection = connection;
    connection.listen({
      messages: (batch) => {
        for (const message of batch) this.#hear(message);
        this.#changed.resolve();
        this.#changed = Promise.withResolvers();
      },
      bulk: () => {},
      closed: () => {
        this.#changed.resolve();
      },
    });
  }

  /** Waits until what the client said satisfies the test. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise;
  }

  /** Waits until this many tasks were submitted. */
  async submitted(count: number): Promise<readonly FakeTask[]> {
    await this.until(() => this.tasks.size >= count);
    return [...this.tasks.values()];
  }

  /** Messages of one kind. */
  heard<Op extends ClientMessage['op']>(op: Op): readonly Extract<ClientMessage, { op: Op }>[] {
    // SAFE: the filter keeps this kind only.
    return this.messages.filter((message) => message.op === op) as never;
  }

  /** Reports results; the values travel with the report unless `inline` is false. */
  finish(entries: readonly (readonly [id: number, value: unknown])[], inline = true): void {
    const encoded = entries.map(([, value]) => encodeValue(value).bytes);
    const values = inline ? encoded : encoded.map(() => new Uint8Array());
    let end = 0;
    entries.forEach(([id], index) => this.stored.set(id, encoded[index] ?? new Uint8Array()));
    this.#connection.send(
      results({
        ids: entries.map(([id]) => id),
        sizes: encoded.map((bytes) => bytes.byteLength),
        values: new Uint8Array(Buffer.concat(values)),
        ends: values.map((bytes) => (end += bytes.byteLength)),
        durationsUs: entries.map(() => 1_500),
        ranOn: entries.map(() => 0),
        workers: ['w-0'],
      }),
    );
  }

  /** Reports that a task threw. */
  fail(ids: readonly number[], error: Error, origin?: string): void {
    const key = this.tasks.get(ids[0] ?? 0)?.key ?? '';
    const why = failure('ERR_TASK', error.message, origin ?? key, 'w-0', encodeError(error));
    this.failWith(ids, why);
  }

  failWith(ids: readonly number[], why: Failure): void {
    this.#connection.send(failed(ids, why));
  }

  cancel(ids: readonly number[], reason: string): void {
    this.#connection.send(cancelled(ids, reason));
  }

  recompute(ids: readonly number[]): void {
    this.#connection.send(recomputing(ids));
  }

  refuseData(request: number, message: string): void {
    this.#connection.send(dataFailed(request, failure('ERR_LOST_DATA', message, '', null, null)));
  }

  terminate(): void {
    this.#connection.terminate();
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }

  /** The decoded argument list of a task, with its dependencies by number. */
  argumentsOf(task: FakeTask): unknown {
    return decodeValue(
      task.args,
      task.deps.map((dep) => `future ${dep}`),
    );
  }

  #hear(message: ClientMessage): void {
    this.messages.push(message);
    switch (message.op) {
      case 'define-function':
        this.functions.set(message.hash, message.spec);
        return;
      case 'submit':
        this.#take(message);
        return;
      case 'get-result':
        if (!this.onGetResult(message.request, message.id)) this.serve(message);
        return;
      case 'ask':
        if (message.method === 'scheduler-info') {
          this.#connection.send(reply(message.request, this.info(), null));
        } else if (message.method === 'wait-for-workers') {
          if (this.workers.length < message.params.count) return;
          this.#connection.send(reply(message.request, this.workers.length, null));
        } else if (message.method === 'explain' || message.method === 'story') {
          const why = failure('ERR_ARGUMENT', `no task ${message.params.key}`, '', null, null);
          this.#connection.send(reply(message.request, null, why));
        }
        return;
      case 'shutdown':
        void this.#connection.close();
        return;
      default:
    }
  }

  serve({
    request,
    id,
    offset,
    length,
  }: {
    request: number;
    id: number;
    offset: number;
    length: number;
  }): void {
    const bytes = this.stored.get(id) ?? new Uint8Array();
    const chunk = bytes.slice(offset, offset + length);
    this.#connection.sendBulk({ request, totalBytes: bytes.byteLength, offset, bytes: chunk });
  }

  info(): SchedulerInfo {
    return {
      type: 'Scheduler',
      id: 'fake',
      address: 'tcp://127.0.0.1:8786',
      startedMs: 0,
      workers: this.workers,
      clients: 1,
      tasks: this.counts,
      prefixes: [],
      heldUp: this.heldUp,
    };
  }

  #take(message: Submit): void {
    this.#connection.send(accepted(message.first, message.count));
    for (let index = 0; index < message.count; index++) {
      const from = index === 0 ? 0 : u32At(message.argEndsColumn, index - 1);
      const { depsColumn, depEndsColumn } = message;
      const deps: number[] = [];
      if (depsColumn !== null && depEndsColumn !== null) {
        const depFrom = index === 0 ? 0 : u32At(depEndsColumn, index - 1);
        for (let at = depFrom; at < u32At(depEndsColumn, index); at++) {
          deps.push(u32At(depsColumn, at));
        }
      }
      this.tasks.set(message.first + index, {
        id: message.first + index,
        key: blockKey(message.key, message.indexFrom, index),
        fn: message.fn,
        args: message.args.slice(from, u32At(message.argEndsColumn, index)),
        deps,
        options: message.options,
      });
    }
  }
}

/** A client's parts with a fake scheduler at the other end. */
export interface Rig extends AsyncDisposable {
  readonly session: Session;
  readonly client: Submitter;
  readonly scheduler: FakeScheduler;
}

/** Connects a client's session to a fake scheduler within this process. */
export function connectFake(heartbeatMs: number = 60_000): Rig {
  const { dialed, accepted: clientSide } = inprocPair('client');
  const scheduler = new FakeScheduler(clientSide);
  const session = new Session(
    () =>
      Promise.resolve({
        connection: dialed,
        address: 'tcp://127.0.0.1:8786',
        heartbeatMs,
      }),
    {
      connected: () => {},
      disconnected: () => {},
      reconnected: () => {},
      ended: () => {},
    },
  );
  return {
    session,
    client: new Submitter(session, {}),
    scheduler,
    [Symbol.asyncDispose]: async () => {
      await session.close();
      await scheduler.close();
    },
  };
}
