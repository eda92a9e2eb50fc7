import { FarmError, LIMITS } from '../core/index.ts';
import type {
  ClientBoundMessage,
  ClientMessage,
  Message,
  PeerMessage,
  Questions,
  Results,
  Run,
  Scatter,
  Submit,
  WorkerBoundMessage,
  WorkerMessage,
} from '../core/index.ts';
import {
  amount,
  amounts,
  anything,
  bytes,
  endsColumnProblem,
  endsProblem,
  finite,
  flag,
  idRanges,
  integer,
  integers,
  listOf,
  literal,
  name,
  nullable,
  positiveIntegers,
  record,
  resourceAmounts,
  text,
  texts,
  u32Column,
} from './checks.ts';
import type { Check, Problem } from './checks.ts';
import { COORDINATION_PARAMS, path } from './check-coordination.ts';

/** Who speaks on a connection, and what it may say. */
export interface MessagesBySpeaker {
  /** A client, to the scheduler. */
  readonly client: ClientMessage;
  /** The scheduler, to a client. */
  readonly 'client-bound': ClientBoundMessage;
  /** A worker, to the scheduler. */
  readonly worker: WorkerMessage;
  /** The scheduler, to a worker. */
  readonly 'worker-bound': WorkerBoundMessage;
  /** A worker, to another worker. */
  readonly peer: PeerMessage;
}

/** Names of the sides of connections. */
export type Speaker = keyof MessagesBySpeaker;

type Op = Message['op'];
type MessageOf<O extends Op> = Extract<Message, { readonly op: O }>;

/** The checks of one kind of message: of each field, and then of the fields together. */
interface Rule<O extends Op> {
  readonly fields: { readonly [Field in Exclude<keyof MessageOf<O>, 'op'>]: Check };
  readonly together?: (message: MessageOf<O>) => Problem;
}

const OPS_BY_SPEAKER: { readonly [S in Speaker]: readonly MessagesBySpeaker[S]['op'][] } = {
  client: [
    'define-function',
    'submit',
    'scatter',
    'release',
    'cancel',
    'retry',
    'get-result',
    'ask',
    'client-heartbeat',
    'close-client',
    'shutdown',
  ],
  'client-bound': [
    'accepted',
    'results',
    'failed',
    'cancelled',
    'recomputing',
    'reply',
    'data-failed',
    'goodbye',
    'topic-event',
  ],
  worker: [
    'finished',
    'run-failed',
    'stopped',
    'holding',
    'lost',
    'run-usage',
    'acquire-failed',
    'seceded',
    'input-missing',
    'get-relayed',
    'data-failed',
    'worker-heartbeat',
    'plugin-set',
    'draining',
    'leaving',
  ],
  'worker-bound': [
    'define-worker-function',
    'forget-functions',
    'run',
    'free',
    'stop',
    'put-data',
    'acquire',
    'get-data',
    'data-failed',
    'close-worker',
    'restart-worker',
    'set-plugin',
  ],
  peer: ['get-data', 'data-failed'],
};

const errorCode: Check = (value) => {
  return typeof value === 'string' && /^ERR_[A-Z_]{1,40}$/.test(value)
    ? undefined
    : 'is not an error code';
};

const failure = record({
  code: errorCode,
  message: text,
  origin: text,
  worker: nullable(text),
  error: nullable(bytes),
  name: nullable(text),
});

const timeout: Check = (value) => (value === 0 ? 'is 0' : nullable(amount)(value));

const speculation: Check = (value) => {
  if (!Array.isArray(value) || value.length !== 2) return 'is not a pair of numbers';
  return amounts(value);
};

const options = record({
  resources: resourceAmounts,
  workers: texts,
  allowOtherWorkers: flag,
  retries: integer,
  priority: finite,
  timeoutMs: timeout,
  retryDelayMs: amount,
  retryOn: texts,
  rerunOnLoss: flag,
  spans: path,
  speculate: nullable(speculation),
  growMemory: nullable(finite),
});

const metrics = record({
  rssBytes: amount,
  storedBytes: amount,
  cpu: amount,
  loopLagMs: amount,
  executing: integer,
  queued: integer,
  spilledBytes: amount,
  paused: flag,
});

const dependency = record({
  task: integer,
  size: integer,
  holders: texts,
  value: nullable(bytes),
});

/** Bytes asked for in one request; the answer must fit a frame. */
const length: Check = (value) => {
  return integer(value) ?? (Number(value) > LIMITS.frameBytesMax / 2 ? 'is too large' : undefined);
};

const pluginKind: Check = (value) => {
  return value === 'worker' || value === 'nanny' ? undefined : 'is no kind of plugin';
};

const PARAMS: { readonly [M in keyof Questions]: Check } = {
  'scheduler-info': (value) => (value === null ? undefined : 'is not null'),
  'wait-for-workers': record({ count: integer }),
  explain: record({ key: name }),
  story: record({ key: name }),
  'retire-workers': record({ workers: texts, count: integer, close: flag, timeoutMs: amount }),
  replicate: record({ ids: integers, copies: integer, workers: texts }),
  rebalance: record({ ids: integers, workers: texts }),
  'who-has': record({ ids: integers }),
  'has-what': record({ workers: texts }),
  'adaptive-target': record({ targetDurationMs: amount, coolDownMs: amount }),
  'workers-to-close': record({ count: integer }),
  spans: record({ path }),
  groups: record({ keys: texts }),
  'register-plugin': record({ name, module: name, args: texts }),
  'unregister-plugin': record({ name }),
  'register-worker-plugin': record({ name, kind: pluginKind, spec: bytes }),
  'unregister-worker-plugin': record({ name }),
  ...COORDINATION_PARAMS,
};

const method: Check = (value) => {
  return typeof value === 'string' && Object.hasOwn(PARAMS, value)
    ? undefined
    : 'is not a known question';
};

const dataRequest = { request: integer, task: integer, offset: integer, length } as const;
const reason = { reason: text } as const;

const RULES: { readonly [O in Op]: Rule<O> } = {
  'define-function': { fields: { hash: name, name: text, spec: bytes } },
  submit: {
    fields: {
      first: integer,
      count: integer,
      key: name,
      indexFrom: nullable(integer),
      fn: name,
      args: bytes,
      argEndsColumn: u32Column,
      depsColumn: nullable(u32Column),
      depEndsColumn: nullable(u32Column),
      options,
      parent: nullable(name),
    },
    together: submitProblem,
  },
  scatter: {
    fields: {
      first: integer,
      count: integer,
      key: name,
      indexFrom: nullable(integer),
      values: bytes,
      endsColumn: u32Column,
      workers: texts,
      copies: integer,
      timeoutMs: amount,
    },
    together: scatterProblem,
  },
  release: { fields: { ranges: idRanges } },
  cancel: { fields: { ranges: idRanges, reason: text } },
  retry: { fields: { ids: integers } },
  'get-result': { fields: { request: integer, id: integer, offset: integer, length } },
  ask: {
    fields: { request: integer, method, params: anything },
    together: (message) => field('params', PARAMS[message.method](message.params)),
  },
  'client-heartbeat': { fields: {} },
  'close-client': { fields: {} },
  shutdown: { fields: reason },
  accepted: { fields: { first: integer, count: integer } },
  results: {
    fields: {
      ids: integers,
      sizes: positiveIntegers,
      values: bytes,
      ends: integers,
      durationsUs: amounts,
      ranOn: integers,
      workers: texts,
    },
    together: resultsProblem,
  },
  failed: { fields: { ids: integers, failure } },
  cancelled: { fields: { ids: integers, reason: text } },
  recomputing: { fields: { ids: integers } },
  reply: { fields: { request: integer, answer: anything, error: nullable(failure) } },
  'data-failed': { fields: { request: integer, failure } },
  goodbye: { fields: reason },
  'topic-event': { fields: { topic: name, atMs: integer, value: bytes } },
  'define-worker-function': { fields: { fn: integer, name: text, spec: bytes } },
  'forget-functions': { fields: { fns: integers } },
  run: {
    fields: {
      fn: integer,
      key: name,
      indices: nullable(integers),
      tasks: integers,
      runs: integers,
      args: bytes,
      ends: integers,
      dependencies: nullable(listOf(listOf(dependency))),
      threads: integer,
      resources: resourceAmounts,
      devices: nullable(listOf(listOf(integers))),
      timeoutMs: timeout,
      attempts: nullable(positiveIntegers),
      expectedUs: nullable(amount),
    },
    together: runProblem,
  },
  free: { fields: { tasks: integers } },
  stop: { fields: { runs: integers, running: flag } },
  'put-data': {
    fields: { tasks: integers, values: bytes, ends: integers },
    together: ({ tasks, values, ends }) =>
      field('ends', endsProblem(ends, tasks.length, values.byteLength)),
  },
  acquire: { fields: { task: integer, size: integer, holders: texts } },
  'get-data': { fields: dataRequest },
  'close-worker': { fields: reason },
  'restart-worker': { fields: reason },
  'set-plugin': {
    fields: { request: integer, name, kind: pluginKind, spec: nullable(bytes) },
  },
  'plugin-set': { fields: { request: integer, failure: nullable(failure) } },
  finished: {
    fields: {
      runs: integers,
      sizes: positiveIntegers,
      values: bytes,
      ends: integers,
      durationsUs: amounts,
    },
    together: ({ runs, sizes, values, ends, durationsUs }) =>
      countProblem('sizes', sizes, runs.length) ??
      countProblem('durationsUs', durationsUs, runs.length) ??
      field('ends', endsProblem(ends, runs.length, values.byteLength)),
  },
  'run-failed': { fields: { run: integer, failure, durationUs: amount } },
  stopped: { fields: { runs: integers, kept: integers } },
  holding: { fields: { tasks: integers } },
  lost: { fields: { tasks: integers } },
  'run-usage': { fields: { run: integer, peakBytes: nullable(integer), cpuUs: nullable(integer) } },
  seceded: { fields: { runs: integers } },
  'acquire-failed': { fields: { task: integer, holders: texts } },
  'input-missing': { fields: { run: integer, task: integer, holders: texts } },
  'worker-heartbeat': { fields: { metrics, executing: integers } },
  'get-relayed': { fields: dataRequest },
  draining: { fields: reason },
  leaving: { fields: reason },
};

/** The rules one speaker is held to, ready for the loop: `op` first, then the fields. */
interface CompiledRule {
  readonly names: readonly string[];
  readonly checks: readonly Check[];
  readonly together: ((message: Message) => Problem) | undefined;
}

const COMPILED: ReadonlyMap<Speaker, ReadonlyMap<unknown, CompiledRule>> = new Map(
  // SAFE: the keys of a record typed by Speaker are speakers.
  (Object.keys(OPS_BY_SPEAKER) as Speaker[]).map((speaker) => [
    speaker,
    new Map<unknown, CompiledRule>(OPS_BY_SPEAKER[speaker].map((op) => [op, compiled(op)])),
  ]),
);

function compiled(op: Op): CompiledRule {
  const { fields, together } = RULES[op];
  return {
    names: ['op', ...Object.keys(fields)],
    checks: [literal(op), ...Object.values<Check>(fields)],
    // SAFE: the rule of an op is only ever given messages that have this op and passed its fields.
    together: together as ((message: Message) => Problem) | undefined,
  };
}

/**
 * Checks that a decoded value is a message its sender may send: a known `op` of that speaker, every
 * field present, of its type and in range, no other field, and counts and column lengths that
 * agree. Takes well under a microsecond for a small message, a few nanoseconds per column entry.
 *
 * @throws FarmError `ERR_PROTOCOL` naming op and field.
 */
export function checkMessage<S extends Speaker>(
  value: unknown,
  speaker: S,
): asserts value is MessagesBySpeaker[S] {
  if (typeof value !== 'object' || value === null) throw broken('a message is not a record');
  // SAFE: any object may be read by name; what is read is unknown.
  const message = value as Record<string, unknown>;
  const op = message['op'];
  const rule = COMPILED.get(speaker)?.get(op);
  if (rule === undefined) throw broken(`unknown op ${shown(op)} from ${SPEAKER_NAMES[speaker]}`);
  const { names, checks } = rule;
  for (let index = 0; index < names.length; index++) {
    const problem = checks[index]?.(message[names[index] ?? '']);
    if (problem !== undefined) throw broken(`${shown(op)}: ${names[index]} ${problem}`);
  }
  const keys = Object.keys(message);
  if (keys.length !== names.length) {
    const extra = keys.find((key) => !names.includes(key));
    if (extra !== undefined) throw broken(`${shown(op)}: unknown field ${shown(extra)}`);
    const missing = names.find((name) => !keys.includes(name));
    throw broken(`${shown(op)}: no field ${shown(missing)}`);
  }
  // SAFE: op and every field were checked above.
  const problem = rule.together?.(value as Message);
  if (problem !== undefined) throw broken(`${shown(op)}: ${problem}`);
}

const SPEAKER_NAMES: { readonly [S in Speaker]: string } = {
  client: 'a client',
  'client-bound': 'a scheduler to its client',
  worker: 'a worker',
  'worker-bound': 'a scheduler to its worker',
  peer: 'a peer',
};

function submitProblem(block: Submit): Problem {
  const { first, count, indexFrom, args, argEndsColumn, depsColumn, depEndsColumn } = block;
  if (count < 1 || count > LIMITS.blockTasksMax) return `count ${count} is out of range`;
  if (first + count > 2 ** 32) return 'first is out of range';
  if (indexFrom === null && count !== 1) return 'indexFrom is missing for several tasks';
  if (args.byteLength > LIMITS.argumentsBytesMax) return 'args are too large';
  const argsProblem = endsColumnProblem(argEndsColumn, count, args.byteLength);
  if (argsProblem !== undefined) return `argEndsColumn ${argsProblem}`;
  if (depsColumn === null && depEndsColumn === null) return undefined;
  if (depsColumn === null || depEndsColumn === null) return 'has only one of the deps columns';
  return field('depEndsColumn', endsColumnProblem(depEndsColumn, count, depsColumn.byteLength / 4));
}

function scatterProblem({ first, count, indexFrom, values, endsColumn }: Scatter): Problem {
  if (count < 1 || count > LIMITS.blockTasksMax) return `count ${count} is out of range`;
  if (first + count > 2 ** 32) return 'first is out of range';
  if (indexFrom === null && count !== 1) return 'indexFrom is missing for several values';
  return field('endsColumn', endsColumnProblem(endsColumn, count, values.byteLength));
}

function resultsProblem(message: Results): Problem {
  const { ids, sizes, values, ends, durationsUs, ranOn, workers } = message;
  const problem =
    countProblem('sizes', sizes, ids.length) ??
    countProblem('durationsUs', durationsUs, ids.length) ??
    countProblem('ranOn', ranOn, ids.length) ??
    field('ends', endsProblem(ends, ids.length, values.byteLength));
  if (problem !== undefined) return problem;
  return ranOn.every((index) => index < workers.length) ? undefined : 'ranOn names no worker';
}

function runProblem(message: Run): Problem {
  const { tasks, runs, indices, args, ends, dependencies, resources, devices, attempts } = message;
  const count = tasks.length;
  if (count === 0) return 'tasks is empty';
  return (
    countProblem('runs', runs, count) ??
    countProblem('indices', indices, count) ??
    countProblem('dependencies', dependencies, count) ??
    countProblem('devices', devices, count) ??
    devices?.flatMap((granted) => countProblem('devices', granted, resources.length) ?? [])[0] ??
    countProblem('attempts', attempts, count) ??
    field('ends', endsProblem(ends, count, args.byteLength))
  );
}

function countProblem(column: string, values: readonly unknown[] | null, count: number): Problem {
  if (values === null || values.length === count) return undefined;
  return `${column} has ${values.length} entries, there are ${count}`;
}

function field(column: string, problem: Problem): Problem {
  return problem === undefined ? undefined : `${column} ${problem}`;
}

function broken(problem: string): FarmError {
  return new FarmError('ERR_PROTOCOL', `broken protocol: ${problem}`);
}

/** A name out of a message, for a one-line error. */
function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : typeof value;
}
