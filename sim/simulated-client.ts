import {
  cancel,
  clientHeartbeat,
  closeClient,
  defineFunction,
  getResult,
  packU32,
  release,
  retry,
  scatter,
  submit,
  taskOptions,
} from '@farm/protocol/core';
import type {
  ClientBoundMessage,
  ClientHello,
  ClientMessage,
  HasWhat,
  TaskOptions,
} from '@farm/protocol/core';
import type { BulkFrame } from '@farm/protocol';

import { ClientQuestions } from './client-questions.ts';
import { check } from './failure.ts';
import type { TaskSpec } from './oracle.ts';
import { mix, Random } from './prng.ts';
import { SimulatedProcess } from './process.ts';
import type { ClientAction, ClientPlan, ScatterOp } from './scenario.ts';
import { Wire } from './wire.ts';
import type { WireEnd } from './wire.ts';
import { HEARTBEAT_MS, SCHEDULER_ADDRESS, SCHEDULER_HOST } from './world.ts';
import type { World } from './world.ts';

/** A future as its client sees it. */
export interface FutureModel {
  readonly id: number;
  readonly ref: number;
  state: 'pending' | 'memory' | 'erred' | 'cancelled' | 'released';
  isAccepted: boolean;
  sizeBytes: number;
  /** It, or something it needs, was cancelled by this client. */
  mayBeCancelled: boolean;
  /** The whole value was seen, and was right. */
  isVerified: boolean;
}

interface Transfer {
  readonly future: FutureModel;
  readonly value: Uint8Array;
  missing: number;
  readonly requests: number[];
}

/** A client: submits what the scenario says, and checks everything it is told. */
export class SimulatedClient {
  readonly plan: ClientPlan;
  readonly process: SimulatedProcess;
  readonly futures: Map<number, FutureModel> = new Map();
  readonly #world: World;
  readonly #wire: Wire;
  /** The future of each task; the newest where there were several. */
  readonly #byRef = new Map<number, FutureModel>();
  readonly #defined = new Set<string>();
  readonly #questions: ClientQuestions;
  readonly #transfers = new Map<number, { readonly transfer: Transfer; readonly offset: number }>();
  #end: WireEnd | null = null;
  readonly #waiting: ClientAction[] = [];
  #nextId: number;
  #nextRequest = 1;
  #isGone = false;

  constructor(world: World, plan: ClientPlan) {
    this.#world = world;
    this.plan = plan;
    this.process = new SimulatedProcess(world.clock, plan.name, `${plan.name}-host`);
    const { seed, settings } = world.scenario;
    this.#wire = new Wire(new Random(mix(seed, 'client', plan.name)), settings.codecShare);
    this.#nextId = mix(plan.name) % 1_000;
    this.#questions = new ClientQuestions(world, {
      process: this.process,
      number: world.scenario.clients.indexOf(plan) + 1,
      say: (message) => this.#say(message),
      newRequest: () => this.#nextRequest++,
    });
    this.process.after(plan.connectAtMs, () => this.#connect());
  }

  /** Whether it left, or was lost: nobody waits for its futures. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** Does what the scenario says, once it is connected. */
  act(action: ClientAction): void {
    if (this.#isGone) return;
    if (this.#end === null) {
      this.#waiting.push(action);
      return;
    }
    switch (action.kind) {
      case 'submit':
        this.#submit(action);
        break;
      case 'share':
        for (const ref of action.refs) this.#share(ref);
        break;
      case 'release':
        this.#release(this.#held(action.refs));
        break;
      case 'cancel':
        this.cancel(this.#held(action.refs));
        break;
      case 'retry':
        this.#world.checks.outcomes.retried(action.refs);
        this.#say(retry(this.#held(action.refs).map(({ id }) => id)));
        break;
      case 'gather':
        for (const future of this.#held(action.refs)) this.gather(future);
        break;
      case 'ask':
        if (action.method === 'wait-for-workers') this.#questions.ask(action.method, { count: 1 });
        else if (action.method === 'scheduler-info') this.#questions.ask(action.method, null);
        else {
          this.#questions.ask(action.method, { key: this.#world.oracle.spec(action.ref).key });
        }
        break;
      case 'scatter':
        this.#scatter(action);
        break;
      case 'copy': {
        const ids = this.#held(action.refs).map(({ id }) => id);
        if (ids.length > 0) this.#questions.copy(ids, action.copies);
        break;
      }
      case 'retire':
        this.#questions.retire(action);
        break;
      case 'lease':
        this.#questions.lease(action);
        break;
      case 'put':
        this.#questions.put(action);
        break;
      case 'get':
        this.#questions.get(action);
        break;
      default:
        action satisfies never;
    }
  }

  /** Asks for the bytes of a result. */
  gather(future: FutureModel): void {
    if (future.state !== 'memory' || this.#isGone) return;
    const transfer: Transfer = {
      future,
      value: new Uint8Array(future.sizeBytes),
      missing: future.sizeBytes,
      requests: [],
    };
    const { chunkBytes } = this.#world.scenario.settings;
    for (let offset = 0; offset < future.sizeBytes; offset += chunkBytes) {
      const request = this.#nextRequest++;
      transfer.requests.push(request);
      this.#transfers.set(request, { transfer, offset });
      const length = Math.min(chunkBytes, future.sizeBytes - offset);
      this.#say(getResult(request, future.id, offset, length));
    }
  }

  /** Cancels futures. */
  cancel(futures: readonly FutureModel[]): void {
    if (futures.length === 0) return;
    const cancelled = new Set(futures.map(({ ref }) => ref));
    for (const future of this.futures.values()) {
      if (future.mayBeCancelled) continue;
      future.mayBeCancelled = this.#world.checks.outcomes.needsAny(future.ref, cancelled);
    }
    this.#say(cancel(ranges(futures), 'the user said so'));
  }

  /** Asks which results each worker holds. */
  askHoldings(answered: (holdings: HasWhat) => void): void {
    this.#questions.ask('has-what', { workers: [] }, answered);
  }

  /** Gives up all that is left. */
  releaseAll(): void {
    this.#release([...this.futures.values()].filter(({ state }) => state !== 'released'));
  }

  /** Says goodbye. */
  close(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#say(closeClient());
    this.#end?.close('the client closes');
  }

  /** The process is gone, with or without a sign. */
  vanish(isSilent: boolean): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.process.die();
    if (isSilent) this.#end?.vanish();
    else this.#end?.terminate('the client ended');
  }

  /** What it waits for besides futures: its connection, answers, bytes. */
  openQuestions(): number {
    return (this.#end === null ? 1 : 0) + this.#questions.size + this.#transfers.size;
  }

  #connect(): void {
    const hello: ClientHello = {
      op: 'hello',
      role: 'client',
      protocol: 1,
      version: '0',
      incarnation: this.plan.name,
      name: this.plan.name,
      weight: this.plan.weight,
    };
    this.#world.network.dial(this.process, SCHEDULER_ADDRESS, hello, SCHEDULER_HOST, {
      opened: (end) => {
        if (this.#isGone) {
          end.close('gone');
          return;
        }
        this.#end = end;
        end.listen({
          heard: (payload) => {
            if (payload.kind === 'bulk') this.#bulk(payload.frame);
            // SAFE: on this connection only the scheduler speaks.
            else this.#hear(payload.message as ClientBoundMessage);
          },
          closed: () => {
            this.#isGone = true;
          },
        });
        this.#beat();
        for (const action of this.#waiting.splice(0)) this.act(action);
      },
      failed: () => this.process.after(100, () => this.#connect()),
    });
  }

  #beat(): void {
    if (this.#isGone) return;
    this.#say(clientHeartbeat());
    this.process.after(HEARTBEAT_MS, () => this.#beat());
  }

  #say(message: ClientMessage): void {
    if (this.#end !== null) this.#wire.send(this.#end, 'client', message);
  }

  #held(refs: readonly number[]): FutureModel[] {
    return refs.flatMap((ref) => {
      const future = this.#byRef.get(ref);
      return future === undefined || future.state === 'released' ? [] : [future];
    });
  }

  #release(futures: readonly FutureModel[]): void {
    if (futures.length === 0) return;
    for (const future of futures) future.state = 'released';
    this.#say(release(ranges(futures)));
  }

  #submit(action: Extract<ClientAction, { kind: 'submit' }>): void {
    const { oracle } = this.#world;
    const { key, indexFrom, fn, options, tasks } = action;
    this.#send(
      tasks.map(({ ref }) => oracle.spec(ref)),
      { key, indexFrom, fn, options },
    );
  }

  /** Submits a task alone, whoever else has submitted it. */
  #share(ref: number): void {
    const spec = this.#world.oracle.spec(ref);
    const known = this.#byRef.get(ref);
    if (known !== undefined && known.state !== 'released' && known.state !== 'cancelled') return;
    this.#send([spec], {
      key: spec.key,
      indexFrom: null,
      fn: spec.fn,
      options: taskOptions(spec.options),
    });
  }

  #send(
    specs: readonly TaskSpec[],
    block: { key: string; indexFrom: number | null; fn: string; options: TaskOptions },
  ): void {
    const { oracle } = this.#world;
    const { fn } = block;
    if (!this.#defined.has(fn)) {
      this.#defined.add(fn);
      this.#say(defineFunction(`hash of ${fn}`, fn, new Uint8Array([1, 2, 3])));
    }
    const first = this.#nextId;
    this.#nextId += specs.length;
    const args: number[] = [];
    const argEnds: number[] = [];
    const deps: number[] = [];
    const depEnds: number[] = [];
    for (const [index, { ref, deps: needed }] of specs.entries()) {
      args.push(...oracle.encodeArguments(ref));
      argEnds.push(args.length);
      let mayBeCancelled = false;
      for (const dep of needed) {
        const future = this.#byRef.get(dep);
        // Another client's, or one that was never submitted: nobody has this number.
        deps.push(future?.id ?? 4_000_000);
        const isThere = future !== undefined && future.state !== 'released';
        if (!isThere || future.mayBeCancelled) oracle.foreign.add(ref);
        if (future?.mayBeCancelled === true) mayBeCancelled = true;
      }
      depEnds.push(deps.length);
      this.#addFuture(first + index, ref, mayBeCancelled);
    }
    this.#say(
      submit({
        first,
        count: specs.length,
        key: block.key,
        indexFrom: block.indexFrom,
        fn: `hash of ${fn}`,
        args: Uint8Array.from(args),
        argEndsColumn: packU32(argEnds),
        depsColumn: deps.length === 0 ? null : packU32(deps),
        depEndsColumn: deps.length === 0 ? null : packU32(depEnds),
        options: block.options,
      }),
    );
  }

  #scatter({ key, indexFrom, copies, timeoutMs, tasks }: ScatterOp): void {
    const { oracle } = this.#world;
    const first = this.#nextId;
    this.#nextId += tasks.length;
    const values: number[] = [];
    const ends: number[] = [];
    for (const [index, { ref }] of tasks.entries()) {
      for (const byte of oracle.compute(oracle.spec(ref), [])) values.push(byte);
      ends.push(values.length);
      this.#addFuture(first + index, ref, false);
    }
    this.#world.coverage.happened('scattered', tasks.length);
    this.#say(
      scatter({
        first,
        count: tasks.length,
        key,
        indexFrom,
        values: Uint8Array.from(values),
        endsColumn: packU32(ends),
        workers: [],
        copies,
        timeoutMs,
      }),
    );
  }

  #addFuture(id: number, ref: number, mayBeCancelled: boolean): void {
    const future: FutureModel = {
      id,
      ref,
      state: 'pending',
      isAccepted: false,
      sizeBytes: 0,
      mayBeCancelled,
      isVerified: false,
    };
    this.futures.set(id, future);
    this.#byRef.set(ref, future);
    this.#world.coverage.future(this.plan.name, id, this.#world.oracle.spec(ref).key);
  }

  #hear(message: ClientBoundMessage): void {
    const { outcomes } = this.#world.checks;
    this.#world.trace.note(this.#world.clock.nowMs, this.plan.name, message);
    switch (message.op) {
      case 'accepted':
        for (let id = message.first; id < message.first + message.count; id++) {
          const future = this.#future(id, message);
          check(!future.isAccepted, 'messages', `future ${id} is accepted twice`);
          future.isAccepted = true;
        }
        break;
      case 'results': {
        let start = 0;
        for (const [index, id] of message.ids.entries()) {
          const end = message.ends[index] ?? start;
          const value = end > start ? message.values.subarray(start, end) : null;
          const sizeBytes = message.sizes[index] ?? 0;
          outcomes.result(this, this.#future(id, message), sizeBytes, value);
          start = end;
        }
        break;
      }
      case 'failed':
        for (const id of message.ids)
          outcomes.failed(this, this.#future(id, message), message.failure);
        break;
      case 'cancelled':
        for (const id of message.ids) outcomes.cancelled(this, this.#future(id, message));
        break;
      case 'recomputing':
        for (const id of message.ids) outcomes.recomputing(this, this.#future(id, message));
        break;
      case 'reply':
        this.#questions.hear(message);
        break;
      case 'data-failed':
        this.#dataFailed(message.request);
        break;
      case 'goodbye':
      case 'topic-event': // nothing here subscribes
        break;
      default:
        message satisfies never;
    }
  }

  #future(id: number, { op }: ClientBoundMessage): FutureModel {
    const future = this.futures.get(id);
    check(future !== undefined, 'messages', `${op} names future ${id}, which is nobody's`);
    if (op !== 'accepted') {
      check(future.isAccepted, 'messages', `${op} names future ${id}, which was not accepted`);
    }
    return future;
  }

  #bulk(frame: BulkFrame): void {
    const asked = this.#transfers.get(frame.request);
    if (asked === undefined) return;
    this.#transfers.delete(frame.request);
    const { transfer, offset } = asked;
    const { future, value } = transfer;
    const where = `bytes of future ${future.id}`;
    check(frame.totalBytes === value.byteLength, 'oracle', `${where}: ${frame.totalBytes} in all`);
    check(frame.offset === offset, 'messages', `${where}: from ${frame.offset}, not ${offset}`);
    value.set(frame.bytes, offset);
    transfer.missing -= frame.bytes.byteLength;
    if (transfer.missing > 0) return;
    this.#world.checks.outcomes.verify(future, value);
  }

  #dataFailed(request: number): void {
    const asked = this.#transfers.get(request);
    if (asked === undefined) return;
    for (const other of asked.transfer.requests) this.#transfers.delete(other);
  }
}

/** `[first, count, …]` of futures. */
function ranges(futures: readonly FutureModel[]): number[] {
  const found: number[] = [];
  let next = -1;
  for (const id of futures.map((future) => future.id).toSorted((a, b) => a - b)) {
    if (id === next) found[found.length - 1] = (found.at(-1) ?? 0) + 1;
    else found.push(id, 1);
    next = id + 1;
  }
  return found;
}
