import { FarmError, LIMITS, packU32 } from '@farm/protocol';
import { ValueColumn, encodeValue } from '@farm/protocol/value';

import { Future } from './future.ts';
import type { EncodedBlock, Session } from './session.ts';

const ID_BYTES = 4;
/** A block is closed when it has this many bytes; one task of the largest size still fits in then,
 * beside the columns of offsets, without making more than a frame. */
const BLOCK_BYTES = Math.min(
  LIMITS.blockBytesMax,
  LIMITS.frameBytesMax - LIMITS.argumentsBytesMax - 2 * ID_BYTES * LIMITS.blockTasksMax - 65_536,
);

/**
 * Encodes the argument list of a single task.
 *
 * @param name - The function's, for messages.
 * @throws FarmError `ERR_VALUE`, `ERR_FOREIGN_FUTURE` or `ERR_LIMIT`
 */
export function encodeTask(session: Session, name: string, args: readonly unknown[]): EncodedBlock {
  const { bytes, references } = explained(name, () => encodeValue(args, { what: 'arguments' }));
  checkSize(name, bytes.byteLength + ID_BYTES * references.length);
  const ids = references.map((reference) => idAmong(session, name, reference));
  return {
    count: 1,
    args: bytes,
    argEndsColumn: packU32([bytes.byteLength]),
    depsColumn: ids.length === 0 ? null : packU32(ids),
    depEndsColumn: ids.length === 0 ? null : packU32([ids.length]),
  };
}

/** Encodes the argument lists of a map into blocks of bounded size. */
export class MapEncoder {
  readonly #session: Session;
  readonly #name: string;
  readonly #column = new ValueColumn();
  readonly #blocks: EncodedBlock[] = [];
  #dependencies: number[] = [];
  /** Where the dependencies of each task end; empty while no task has any. */
  #dependencyEnds: number[] = [];

  /** @param name - The function's, for messages. */
  constructor(session: Session, name: string) {
    this.#session = session;
    this.#name = name;
  }

  /**
   * Adds a task.
   *
   * @param index - Its position in the map, for messages.
   * @throws FarmError as {@link encodeTask} does.
   */
  add(args: readonly unknown[], index: number): void {
    const before = this.#column.byteLength;
    const references = this.#encode(args, index);
    const bytes = this.#column.byteLength - before + ID_BYTES * references.length;
    if (bytes > LIMITS.argumentsBytesMax) checkSize(this.#at(index), bytes);
    if (references.length > 0 || this.#dependencyEnds.length > 0) this.#depend(references, index);
    const { count, byteLength } = this.#column;
    const blockBytes = byteLength + ID_BYTES * this.#dependencies.length;
    if (count >= LIMITS.blockTasksMax || blockBytes >= BLOCK_BYTES) this.#close();
  }

  /** The blocks of all tasks, in order. */
  finish(): readonly EncodedBlock[] {
    if (this.#column.count > 0) this.#close();
    return this.#blocks;
  }

  #encode(args: readonly unknown[], index: number): readonly object[] {
    try {
      return this.#column.append(args, 'arguments');
    } catch (error) {
      throw withPlace(error, this.#at(index));
    }
  }

  #depend(references: readonly object[], index: number): void {
    // The first task with dependencies: those before it have none.
    while (this.#dependencyEnds.length < this.#column.count - 1) this.#dependencyEnds.push(0);
    for (const reference of references) {
      this.#dependencies.push(idAmong(this.#session, this.#at(index), reference));
    }
    this.#dependencyEnds.push(this.#dependencies.length);
  }

  #close(): void {
    const { count } = this.#column;
    const { bytes, ends } = this.#column.take();
    const hasDependencies = this.#dependencies.length > 0;
    this.#blocks.push({
      count,
      args: bytes,
      argEndsColumn: ends,
      depsColumn: hasDependencies ? packU32(this.#dependencies) : null,
      depEndsColumn: hasDependencies ? packU32(this.#dependencyEnds) : null,
    });
    this.#dependencies = [];
    this.#dependencyEnds = [];
  }

  #at(index: number): string {
    return `${this.#name}, task ${index} of the map`;
  }
}

/** Number of a future among the arguments. */
function idAmong(session: Session, place: string, future: object): number {
  if (!Future.isFuture(future) || Future.sessionOf(future) !== session) {
    throw new FarmError(
      'ERR_FOREIGN_FUTURE',
      `${place}: a future of another client is among the arguments; pass its result`,
    );
  }
  const { status } = future;
  if (status === 'released' || status === 'cancelled') {
    const { key } = future;
    const message = `${place}: the future ${key} among the arguments was ${status}`;
    throw new FarmError('ERR_FOREIGN_FUTURE', message, { key });
  }
  return Future.idOf(future);
}

function checkSize(place: string, bytes: number): void {
  if (bytes <= LIMITS.argumentsBytesMax) return;
  const size = `${bytes} bytes, more than ${LIMITS.argumentsBytesMax}`;
  throw new FarmError('ERR_LIMIT', `${place}: the arguments take ${size}`);
}

function explained<T>(place: string, encode: () => T): T {
  try {
    return encode();
  } catch (error) {
    throw withPlace(error, place);
  }
}

function withPlace(error: unknown, place: string): unknown {
  if (!(error instanceof FarmError)) return error;
  return new FarmError(error.code, `${place}: ${error.message}`, { cause: error });
}
