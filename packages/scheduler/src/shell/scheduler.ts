import {
  FarmError,
  FarmServer,
  LIMITS,
  dataFailed,
  failure,
  formatAddress,
  livenessTimes,
} from '@farm/protocol';
import type {
  BulkFrame,
  ClientBoundMessage,
  ClientHello,
  ClientMessage,
  Connection,
  Failure,
  HelloVerdict,
  LivenessTimes,
  Logger,
  SchedulerInfo,
  WorkerBoundMessage,
  WorkerHello,
  WorkerMessage,
} from '@farm/protocol';
import { nanoid } from 'nanoid';

import { SchedulerCore } from '../core/index.ts';
import type {
  Asker,
  LoadPlugin,
  UnloadPlugin,
  RelayData,
  SchedulerEvent,
  SchedulerInstruction,
} from '../core/index.ts';
import { DataRelay, readdress } from './data-relay.ts';
import { watchLife } from './life-line.ts';
import { PluginHost } from './plugins.ts';

/** How often clients and workers say they are alive. */
const HEARTBEAT_MS = 500;
/** How long the last messages may take to leave. */
const FLUSH_MS = 1_000;
/** Longest time between two ticks of the core. */
const TICK_MS = 500;

type ClientConnection = Connection<ClientMessage, ClientBoundMessage>;
type WorkerConnection = Connection<WorkerMessage, WorkerBoundMessage>;

/** A session's connection, by the incarnation of its client or worker. */
interface Known {
  readonly role: 'client' | 'worker';
  readonly connection: ClientConnection | WorkerConnection;
}

/** Options of {@link Scheduler.start}. */
export interface SchedulerOptions {
  /** Address to listen on. */
  readonly host: string;
  /** 0 means any free port. */
  readonly port: number;
  /** Host that others dial, where it is not `host`. */
  readonly contactHost?: string;
  /** What clients and workers prove themselves with. */
  readonly tokens: { readonly client: string; readonly worker: string };
  /** End after this long without work. @default null, never */
  readonly idleTimeoutMs?: number | null;
  /** How long a worker or client whose connection was lost is waited for. @default 30_000 */
  readonly leaseMs?: number;
  /** A peer that is silent for this long has lost its connection. @default 15_000 */
  readonly heartbeatTimeoutMs?: number;
  readonly version: string;
  readonly logger: Logger;
  /** Is told what happens. @default a host without plugins */
  readonly plugins?: PluginHost;
}

/**
 * The scheduler's shell: sockets and timers become events of the core, the core's instructions
 * become messages. It decides nothing.
 */
export class Scheduler implements AsyncDisposable {
  /** Random identity; another one at every start. */
  readonly id: string;
  /** As others dial it: `tcp://host:port`. */
  readonly address: string;
  /** What it is bound to. */
  readonly listening: { readonly host: string; readonly port: number };
  /** Resolves with the reason once the scheduler has ended. */
  readonly ended: Promise<string>;
  readonly #core: SchedulerCore;
  readonly #server: FarmServer;
  readonly #logger: Logger;
  readonly #plugins: PluginHost;
  readonly #clients = new Map<string, ClientConnection>();
  readonly #workers = new Map<string, WorkerConnection>();
  readonly #known = new Map<string, Known>();
  readonly #relay = new DataRelay();
  readonly #ticking: NodeJS.Timeout;
  readonly #end: (reason: string) => void;
  #events: SchedulerEvent[] = [];
  #isScheduled = false;
  #wake: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  private constructor(server: FarmServer, options: SchedulerOptions, id: string) {
    const { promise, resolve } = Promise.withResolvers<string>();
    const { host, port } = server.address;
    this.id = id;
    this.listening = server.address;
    this.address = formatAddress({ secure: false, host: options.contactHost ?? host, port });
    this.ended = promise;
    this.#end = resolve;
    this.#server = server;
    this.#logger = options.logger;
    this.#plugins = options.plugins ?? new PluginHost(options.logger);
    this.#core = new SchedulerCore({
      id,
      address: this.address,
      startedMs: Date.now(),
      idleTimeoutMs: options.idleTimeoutMs ?? null,
      workerLeaseMs: options.leaseMs ?? LIMITS.leaseMs,
      clientLeaseMs: options.leaseMs ?? LIMITS.leaseMs,
      observe: this.#plugins.observing,
    });
    this.#ticking = setInterval(() => this.#push({ kind: 'tick', nowMs: Date.now() }), TICK_MS);
  }

  /**
   * Listens and begins to work.
   *
   * @throws FarmError `ERR_ADDRESS` where the port is in use or the host is not this machine's.
   */
  static async start(options: SchedulerOptions): Promise<Scheduler> {
    const id = `Scheduler-${nanoid()}`;
    // Connections can only arrive once this function has returned to the event loop.
    const holder: { scheduler?: Scheduler } = {};
    const server = await FarmServer.listen({
      host: options.host,
      port: options.port,
      tokens: options.tokens,
      identity: {
        id,
        version: options.version,
        heartbeatMs: HEARTBEAT_MS,
        leaseMs: options.leaseMs ?? LIMITS.leaseMs,
      },
      ...livenessOf(options.heartbeatTimeoutMs),
      logger: options.logger,
      onHello: (...[role, hello]) => {
        const { scheduler } = holder;
        if (role === 'peer' || scheduler === undefined) return { accept: true };
        return scheduler.#judge(role, hello);
      },
      onConnection: (...[role, hello, connection]) => {
        const { scheduler } = holder;
        if (scheduler === undefined) connection.terminate();
        else if (role === 'client') scheduler.#addClient(hello, connection);
        else if (role === 'worker') scheduler.#addWorker(hello, connection);
      },
    });
    const scheduler = new Scheduler(server, options, id);
    holder.scheduler = scheduler;
    const { address } = scheduler;
    scheduler.#plugins.start({ id, address, info: () => scheduler.info() });
    return scheduler;
  }

  /** The state of the cluster, as `client.schedulerInfo()` shows it. */
  info(): SchedulerInfo {
    return this.#core.info(Date.now());
  }

  /** Asks workers and clients to leave, then ends. Resolves when it has ended. Idempotent. */
  async close(reason: string): Promise<void> {
    this.#push({ kind: 'shutdown-asked', nowMs: Date.now(), reason });
    await this.ended;
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close('disposed');
  }

  /** Whether a hello is welcome: a new session, or one that is known and goes on. */
  #judge(role: 'client' | 'worker', hello: ClientHello | WorkerHello): HelloVerdict {
    const known = this.#known.get(hello.incarnation);
    if (hello.resume !== undefined) {
      return known?.role === role ? { resume: known.connection } : { accept: true };
    }
    const refusal = hello.role === 'worker' ? this.#core.refusal(hello) : null;
    if (refusal !== null) return { refuse: new FarmError('ERR_ARGUMENT', refusal) };
    // A new session of the same process: it does not know of the old one.
    known?.connection.terminate();
    return { accept: true };
  }

  #addClient(hello: ClientHello, connection: ClientConnection): void {
    const client = `client-${nanoid()}`;
    const { incarnation } = hello;
    this.#clients.set(client, connection);
    this.#known.set(incarnation, { role: 'client', connection });
    this.#push({ kind: 'client-connected', nowMs: Date.now(), client, hello });
    connection.listen({
      messages: (batch) => {
        const nowMs = Date.now();
        for (const message of batch) this.#push({ kind: 'client-said', nowMs, client, message });
      },
      bulk: () => connection.terminate(),
      detached: ({ message: reason }) => {
        this.#logger.warn(`client ${hello.name} is away: ${reason}`);
        this.#push({ kind: 'client-away', nowMs: Date.now(), client, reason });
      },
      attached: () => {
        this.#logger.info(`client ${hello.name} is back`);
        this.#push({ kind: 'client-back', nowMs: Date.now(), client });
      },
      closed: (why) => {
        this.#clients.delete(client);
        this.#forget(incarnation, connection);
        this.#relay.askerGone('client', client);
        this.#push({ kind: 'client-lost', nowMs: Date.now(), client, reason: why.message });
      },
    });
  }

  #addWorker(hello: WorkerHello, connection: WorkerConnection): void {
    const worker = `worker-${nanoid()}`;
    const { incarnation, address } = hello;
    let stopWatching = (): void => {};
    let lostBy: string | undefined;
    this.#workers.set(worker, connection);
    this.#known.set(incarnation, { role: 'worker', connection });
    this.#push({ kind: 'worker-connected', nowMs: Date.now(), worker, hello });
    connection.listen({
      messages: (batch) => {
        const nowMs = Date.now();
        for (const message of batch) {
          if (message.op === 'data-failed')
            this.#relayFailed(worker, message.request, message.failure);
          else this.#push({ kind: 'worker-said', nowMs, worker, message });
        }
      },
      bulk: (frame) => this.#relayArrived(worker, frame),
      detached: ({ message: reason }) => {
        lostBy = reason;
        this.#push({ kind: 'worker-away', nowMs: Date.now(), worker, reason });
        if (address !== null) stopWatching = watchLife(address, () => connection.terminate());
      },
      attached: () => {
        lostBy = undefined;
        stopWatching();
        this.#push({ kind: 'worker-back', nowMs: Date.now(), worker });
      },
      closed: (why) => {
        stopWatching();
        this.#workers.delete(worker);
        this.#forget(incarnation, connection);
        this.#relay.askerGone('worker', worker);
        for (const lost of this.#relay.workerGone(worker)) this.#refuse(lost.asker, lost.why);
        const reason = lostBy ?? why.message;
        this.#push({ kind: 'worker-lost', nowMs: Date.now(), worker, reason });
      },
    });
  }

  #forget(incarnation: string, connection: ClientConnection | WorkerConnection): void {
    if (this.#known.get(incarnation)?.connection === connection) this.#known.delete(incarnation);
  }

  /** Everything that arrives in one turn of the event loop is handled as one batch. */
  #push(event: SchedulerEvent): void {
    this.#events.push(event);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#handle());
  }

  #handle(): void {
    this.#isScheduled = false;
    if (this.#closing !== undefined) return;
    const events = this.#events;
    this.#events = [];
    try {
      for (const instruction of this.#core.handle(events)) this.#perform(instruction);
    } catch (error) {
      // The state cannot be trusted after this. Ending loudly beats going on wrongly.
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#logger.error(`the scheduler cannot go on: ${text}`);
      this.#finish(`internal error: ${error instanceof Error ? error.message : String(error)}`);
      process.exitCode = 1;
    }
  }

  #perform(instruction: SchedulerInstruction): void {
    switch (instruction.do) {
      case 'to-client':
        this.#clients.get(instruction.client)?.send(instruction.message);
        return;
      case 'to-worker':
        this.#workers.get(instruction.worker)?.send(instruction.message);
        return;
      case 'send-data':
        this.#asker(instruction.asker)?.sendBulk({
          request: instruction.asker.request,
          totalBytes: instruction.totalBytes,
          offset: instruction.offset,
          bytes: instruction.bytes,
        });
        return;
      case 'relay-data':
        this.#relayData(instruction);
        return;
      case 'refuse-data':
        this.#refuse(instruction.asker, instruction.failure);
        return;
      case 'drop-client':
        this.#drop(this.#clients.get(instruction.client), instruction.reason);
        return;
      case 'drop-worker':
        this.#drop(this.#workers.get(instruction.worker), instruction.reason);
        return;
      case 'wake-at':
        this.#wakeAt(instruction.atMs);
        return;
      case 'observe':
        this.#plugins.observe(instruction.observation);
        return;
      case 'load-plugin':
        void this.#loadPlugin(instruction);
        return;
      case 'unload-plugin':
        void this.#unloadPlugin(instruction);
        return;
      case 'log':
        this.#logger[instruction.level](instruction.message);
        return;
      case 'exit':
        this.#finish(instruction.reason);
        return;
    }
  }

  #asker(asker: Asker): ClientConnection | WorkerConnection | undefined {
    const { role, session } = asker;
    return role === 'client' ? this.#clients.get(session) : this.#workers.get(session);
  }

  #refuse(asker: Asker, why: Failure): void {
    this.#asker(asker)?.send(dataFailed(asker.request, why));
  }

  #relayData(instruction: RelayData): void {
    const { asker, worker } = instruction;
    const connection = this.#workers.get(worker);
    if (connection !== undefined) {
      connection.send(this.#relay.begin(instruction));
      return;
    }
    // It went in the same turn of the event loop in which its data was asked for.
    const why = 'the worker that held the result is gone';
    this.#refuse(asker, failure('ERR_LOST_DATA', why, '', null, null));
  }

  #relayArrived(worker: string, frame: BulkFrame): void {
    const asker = this.#relay.end(worker, frame.request);
    if (asker !== undefined) this.#asker(asker)?.sendBulk(readdress(frame, asker.request));
  }

  #relayFailed(worker: string, request: number, why: Failure): void {
    const asker = this.#relay.end(worker, request);
    if (asker !== undefined) this.#refuse(asker, why);
  }

  #drop(connection: ClientConnection | WorkerConnection | undefined, reason: string): void {
    if (connection === undefined) return;
    this.#logger.warn(`${connection.peer} is sent away: ${reason}`);
    void connection.close();
  }

  #wakeAt(atMs: number): void {
    clearTimeout(this.#wake);
    const delayMs = Math.max(0, atMs - Date.now());
    this.#wake = setTimeout(() => this.#push({ kind: 'tick', nowMs: Date.now() }), delayMs);
  }

  async #loadPlugin({ client, request, plugin }: LoadPlugin): Promise<void> {
    const outcome = await this.#plugins.register(plugin);
    const { observing: observe } = this.#plugins;
    this.#push({ kind: 'plugin-loaded', nowMs: Date.now(), client, request, observe, ...outcome });
  }

  async #unloadPlugin({ client, request, name }: UnloadPlugin): Promise<void> {
    const isNew = await this.#plugins.unregister(name);
    const { observing: observe } = this.#plugins;
    const about = { client, request, isNew, failure: null, observe };
    this.#push({ kind: 'plugin-loaded', nowMs: Date.now(), ...about });
  }

  #finish(reason: string): void {
    this.#closing ??= this.#shut(reason);
  }

  async #shut(reason: string): Promise<void> {
    clearInterval(this.#ticking);
    clearTimeout(this.#wake);
    // What was sent last says why; a peer that does not take it must not hold up the end.
    const connections = [...this.#clients.values(), ...this.#workers.values()];
    const flushed = Promise.all(connections.map((connection) => connection.close()));
    const { promise: waited, resolve: stopWaiting } = Promise.withResolvers<void>();
    const timer = setTimeout(stopWaiting, FLUSH_MS);
    await Promise.race([flushed, waited]);
    clearTimeout(timer);
    await this.#server.close();
    this.#plugins.close();
    this.#end(reason);
  }
}

function livenessOf(deadMs: number | undefined): { readonly liveness?: LivenessTimes } {
  return deadMs === undefined ? {} : { liveness: livenessTimes(deadMs) };
}
