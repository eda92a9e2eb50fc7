import { writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';

import {
  FarmServer,
  formatAddress,
  PROTOCOL_VERSION,
  writeSchedulerFile,
  type AcceptedConnections,
  type BulkFrame,
  type WorkerBoundMessage,
  type WorkerHello,
  type WorkerMessage,
} from '@farm/protocol';
import { encodeValue } from '@farm/protocol/value';
import { run, type Run } from '@farm/protocol/core';

/** How long anything in these tests may take before it counts as never. */
export const DEADLINE_MS = 20_000;

/** Waits until a condition holds, with a deadline. */
export async function until<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A worker as the scheduler of a test sees it. */
export class JoinedWorker {
  readonly hello: WorkerHello;
  readonly said: WorkerMessage[] = [];
  readonly bulk: BulkFrame[] = [];
  isGone = false;
  readonly #connection: AcceptedConnections['worker'];

  constructor(hello: WorkerHello, connection: AcceptedConnections['worker']) {
    this.hello = hello;
    this.#connection = connection;
    connection.listen({
      messages: (batch) => this.said.push(...batch),
      bulk: (frame) => this.bulk.push(frame),
      closed: () => {
        this.isGone = true;
      },
    });
  }

  send(message: WorkerBoundMessage): void {
    this.#connection.send(message);
  }

  sendBulk(frame: BulkFrame): void {
    this.#connection.sendBulk(frame);
  }

  drop(): void {
    this.#connection.terminate();
  }

  /** The next message of a kind that was not taken before. */
  async take<Op extends WorkerMessage['op']>(op: Op): Promise<Extract<WorkerMessage, { op: Op }>> {
    return until(`${this.hello.name} says ${op}`, () => {
      const position = this.said.findIndex((message) => message.op === op);
      if (position === -1) return undefined;
      // SAFE: it was found by this very op.
      return this.said.splice(position, 1)[0] as Extract<WorkerMessage, { op: Op }>;
    });
  }
}

/** A scheduler that does nothing by itself: tests say what it says. */
export class FakeScheduler implements AsyncDisposable {
  readonly address: string;
  readonly token: string;
  readonly workers: JoinedWorker[] = [];
  readonly #server: FarmServer;
  #taken = 0;

  static async listen(token: string = 'worker-token', port: number = 0): Promise<FakeScheduler> {
    const workers: JoinedWorker[] = [];
    const server = await FarmServer.listen({
      host: '127.0.0.1',
      port,
      tokens: { worker: token },
      identity: { id: 'scheduler-1', version: '0.0.0', heartbeatMs: 200 },
      onConnection: (...args) => {
        const [role, hello, connection] = args;
        if (role === 'worker') workers.push(new JoinedWorker(hello, connection));
      },
    });
    return new FakeScheduler(server, token, workers);
  }

  private constructor(server: FarmServer, token: string, workers: JoinedWorker[]) {
    this.#server = server;
    this.token = token;
    this.workers = workers;
    this.address = formatAddress({ secure: false, ...server.address });
  }

  get port(): number {
    return this.#server.address.port;
  }

  /** The next worker that joins. */
  async joined(): Promise<JoinedWorker> {
    const worker = await until('a worker joins', () => this.workers[this.#taken]);
    this.#taken += 1;
    return worker;
  }

  async writeFile(path: string): Promise<void> {
    await writeSchedulerFile(path, {
      id: 'scheduler-1',
      address: this.address,
      services: {},
      startedMs: Date.now(),
      protocol: PROTOCOL_VERSION,
      pid: process.pid,
      host: hostname(),
      tokens: { client: 'client-token', worker: this.token },
    });
  }

  async close(): Promise<void> {
    await this.#server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Leaves garbage where a scheduler file should be. */
export async function writeGarbage(path: string): Promise<void> {
  await writeFile(path, 'not json', { mode: 0o600 });
}

/** Defines a function by its source. */
export function aFunction(fn: number, source: string): WorkerBoundMessage {
  const spec = encodeValue({ kind: 'source', name: `f${fn}`, source }).bytes;
  return { op: 'define-worker-function', fn, name: `f${fn}`, spec };
}

/** Runs of a function, one for each argument list; tasks are numbered as their runs. */
export function runsOf(
  fn: number,
  first: number,
  argumentLists: readonly (readonly unknown[])[],
  fields: Partial<Run> = {},
): WorkerBoundMessage {
  const encoded = argumentLists.map((list) => encodeValue(list).bytes);
  const runs = argumentLists.map((_, index) => first + index);
  let end = 0;
  return run({
    fn,
    key: `f${fn}`,
    indices: runs,
    tasks: runs,
    runs,
    args: Buffer.concat(encoded),
    ends: encoded.map(({ byteLength }) => (end += byteLength)),
    dependencies: null,
    threads: 1,
    resources: [],
    timeoutMs: null,
    attempts: null,
    expectedUs: null,
    ...fields,
  });
}
