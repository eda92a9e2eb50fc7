import { FarmError, checkKey } from '@farm/protocol';
import type { CommandResult } from '@farm/protocol';
import { nanoid } from 'nanoid';

import type { Command } from './command.ts';
import type { ImportedFunction } from './functions/module-function.ts';
import { type PreparedFunction, prepareFunction } from './functions/prepare.ts';
import { Future, FutureBlock } from './future.ts';
import type { EncodedBlock, Session } from './session.ts';
import { MapEncoder, encodeTask } from './task-encoding.ts';
import {
  type CheckedOptions,
  type SubmitOptions,
  checkSubmitOptions,
  spanPath,
} from './task-options.ts';
import type { AnyFunction, Arguments, FutureOr, Iterables } from './types.ts';

/** Characters of the random part of a key: collisions are out of the question. */
const KEY_SUFFIX_LENGTH = 10;

/**
 * Submits tasks with certain options: what `client.with(options)` gives. All submitters of a client
 * share its connection.
 */
export class Submitter {
  readonly #session: Session;
  readonly #options: SubmitOptions;
  readonly #checked: CheckedOptions;

  /** Made by `client.with`. */
  constructor(session: Session, options: SubmitOptions) {
    this.#session = session;
    this.#options = options;
    this.#checked = checkSubmitOptions(options);
  }

  /**
   * Runs a function or command on the cluster, once.
   *
   * @param fn - A function that uses nothing but its arguments, what it imports itself and Node's
   *   globals; or `fromModule(…)`, or `command(…)`.
   * @param args - Its arguments, copied now. Futures may be given for values, anywhere inside them.
   * @throws FarmError `ERR_FUNCTION` where the function cannot travel, `ERR_VALUE` where an argument
   *   cannot, `ERR_FOREIGN_FUTURE` for a future that is not this client's or was released,
   *   `ERR_CLOSED` where the client is closed.
   *
   * @example
   * const total = client.submit((xs: number[]) => xs.reduce((a, b) => a + b, 0), squares);
   */
  submit(command: Command, ...args: readonly unknown[]): Future<CommandResult>;
  submit<F extends AnyFunction>(
    fn: ImportedFunction<F>,
    ...args: Arguments<Parameters<F>>
  ): Future<Awaited<ReturnType<F>>>;
  submit<A extends readonly unknown[], R>(
    fn: (...args: A) => R,
    ...args: { [I in keyof A]: FutureOr<A[I]> }
  ): Future<Awaited<R>>;
  submit<F extends AnyFunction>(
    fn: F,
    ...args: Arguments<Parameters<F>>
  ): Future<Awaited<ReturnType<F>>>;
  submit(code: unknown, ...args: readonly unknown[]): Future {
    this.#session.assertOpen();
    const fn = prepareFunction(code, this.#checked.how);
    checkArity(fn, args.length);
    const task = encodeTask(this.#session, fn.name, args);
    const key = this.#checked.key ?? randomKey(fn);
    const block = this.#send(fn, [task], key, null);
    return new Future(block, block.first);
  }

  /**
   * Runs a function or command once for each element of an iterable, or with several iterables for
   * each row across them. The shortest one counts: what is left of the others is not used, and an
   * endless one is read no further.
   *
   * Nothing is submitted where an argument cannot travel.
   *
   * @returns A future for each, in order.
   * @throws FarmError as `submit` does.
   *
   * @example
   * const squares = client.map((x: number) => x ** 2, [0, 1, 2, 3]);
   * const runs = client.map(command('./run.sh', [arg(0)], { cwd: arg(1) }), files, directories);
   */
  map(command: Command, ...iterables: readonly Iterable<unknown>[]): Future<CommandResult>[];
  map<F extends AnyFunction>(
    fn: ImportedFunction<F>,
    ...iterables: Iterables<Parameters<F>>
  ): Future<Awaited<ReturnType<F>>>[];
  map<A extends readonly unknown[], R>(
    fn: (...args: A) => R,
    ...iterables: { [I in keyof A]: Iterable<FutureOr<A[I]>> }
  ): Future<Awaited<R>>[];
  map<F extends AnyFunction>(
    fn: F,
    ...iterables: Iterables<Parameters<F>>
  ): Future<Awaited<ReturnType<F>>>[];
  map(code: unknown, ...iterables: readonly Iterable<unknown>[]): Future[] {
    this.#session.assertOpen();
    const fn = prepareFunction(code, this.#checked.how);
    if (iterables.length === 0) {
      throw new FarmError('ERR_ARGUMENT', 'map: there is no iterable to map over');
    }
    checkArity(fn, iterables.length);
    const tasks = new MapEncoder(this.#session, fn.name);
    let count = 0;
    for (const row of rows(iterables)) {
      tasks.add(row, count);
      count += 1;
    }
    if (count === 0) return [];
    const key = this.#checked.key ?? randomKey(fn);
    checkKey(`${key}-${count - 1}`);
    const block = this.#send(fn, tasks.finish(), key, 0);
    const futures: Future[] = [];
    for (let index = 0; index < count; index++) {
      futures.push(new Future(block, block.first + index));
    }
    return futures;
  }

  /**
   * A submitter with further options on top of these.
   *
   * @throws FarmError `ERR_ARGUMENT` naming the option that is not valid.
   *
   * @example
   * const gpu = client.with({ resources: { GPU: 1 }, retries: 2, timeoutMs: 60_000 });
   * const runs = gpu.map(solve, files);
   */
  with(options: SubmitOptions): Submitter {
    const span = [...spanPath(this.#options.span), ...spanPath(options.span)];
    const merged = { ...this.#options, ...options };
    return new Submitter(this.#session, span.length === 0 ? merged : { ...merged, span });
  }

  #send(
    fn: PreparedFunction,
    blocks: readonly EncodedBlock[],
    key: string,
    indexFrom: number | null,
  ): FutureBlock {
    const { task } = this.#checked;
    const session = this.#session;
    const first = session.submit(fn, blocks, { key, indexFrom, options: task });
    const count = blocks.reduce((sum, block) => sum + block.count, 0);
    const block = new FutureBlock(session, key, indexFrom, first);
    session.releaseWith(block, first, count);
    return block;
  }
}

/** Rows across iterables, until the shortest ends. Each row is used before the next is asked for. */
function* rows(iterables: readonly Iterable<unknown>[]): Generator<readonly unknown[]> {
  iterables.forEach((iterable, index) => {
    if (!isIterable(iterable)) {
      throw new FarmError(
        'ERR_ARGUMENT',
        `map: argument ${index + 1} cannot be iterated; for a single task there is submit`,
      );
    }
  });
  const iterators = iterables.map((iterable) => iterable[Symbol.iterator]());
  let exhausted: Iterator<unknown> | undefined;
  try {
    for (;;) {
      const row: unknown[] = [];
      for (const iterator of iterators) {
        const next = iterator.next();
        if (next.done === true) {
          exhausted = iterator;
          return;
        }
        row.push(next.value);
      }
      yield row;
    }
  } finally {
    for (const iterator of iterators) if (iterator !== exhausted) iterator.return?.();
  }
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return value !== null && value !== undefined && Symbol.iterator in Object(value);
}

function checkArity(fn: PreparedFunction, given: number): void {
  if (given >= fn.arity) return;
  throw new FarmError(
    'ERR_ARGUMENT',
    `the command ${fn.name} uses arg(${fn.arity - 1}), so it takes ${fn.arity} arguments, ` +
      `and ${given} ${given === 1 ? 'is' : 'are'} given`,
  );
}

function randomKey(fn: PreparedFunction): string {
  return `${fn.name}-${nanoid(KEY_SUFFIX_LENGTH)}`;
}
