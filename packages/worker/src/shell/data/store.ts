import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import { FarmError } from '@farm/protocol';

import { collectYoungGarbage } from '../collect-garbage.ts';
import { shareByFile } from '../memory-files/map-again.ts';
import { moveToFile } from '../memory-files/move-to-file.ts';
import { closeFileOf, fileOf } from '../memory-files/value-files.ts';
import { GivenUpMemory } from './given-up-memory.ts';
import { readSpillFile, writeSpillFile, type SpillFile } from './spill-file.ts';

/** Chunks that were read and sent are collected after so many bytes: memory is scarce. */
const COLLECT_BYTES = 16_777_216;

/** Number of the next file, of all stores: one that ends may still be removing its own. */
let nextFile = 1;

/** Smaller values are copied for each task: to share them is not worth it. */
export const SHARED_BYTES_MIN = 1_048_576;

/** One value: in memory, in a file, or both. */
interface Held {
  value: Uint8Array | undefined;
  file: SpillFile | undefined;
  readonly sizeBytes: number;
  /** How often it is lent. */
  loans: number;
  /** Dropped while it was lent: gone when it is given back. */
  isDropped: boolean;
  /** Somebody is being sent it, or was: nobody tells when the kernel has all of it. */
  isSent: boolean;
}

/** A value that stays where it is for as long as somebody reads it there. */
export interface LentValue {
  readonly value: Uint8Array;
  /** Called once. */
  giveBack(): void;
}

/**
 * The results and inputs this worker holds: encoded values by the number of their task, in memory
 * or spilled to files.
 */
export class Store {
  readonly #held = new Map<number, Held>();
  readonly #directory: string | null;
  readonly #givenUp = new GivenUpMemory();
  #hasDirectory = false;
  #totalBytes = 0;
  /** From files, since the chunks of before were collected. */
  #servedBytes = 0;
  /** Told of values whose file turned out to be of no use when it was served. */
  onLost: (task: number, reason: string) => void = () => {};
  /** Told when memory that threads may share is given up here: they may have it still. */
  onSharedGivenUp: () => void = () => {};

  /** @param directory - Where values are spilled to; made when first needed. Null for nowhere. */
  constructor(directory: string | null = null) {
    this.#directory = directory;
  }

  /** Number of values. */
  get size(): number {
    return this.#held.size;
  }

  /** Sum of the values' sizes, wherever they are, those included that were dropped and are still lent. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Of large values that were dropped or evicted and are in memory still, bytes. */
  get givenUpBytes(): number {
    return this.#givenUp.bytes;
  }

  /** Keeps a value; the store owns its bytes from here on. An earlier one is replaced. */
  set(task: number, value: Uint8Array): void {
    this.drop([task]);
    const sizeBytes = value.byteLength;
    this.#totalBytes += sizeBytes;
    const fresh = { file: undefined, loans: 0, isDropped: false, isSent: false };
    this.#held.set(task, { value, sizeBytes, ...fresh });
  }

  /** A value that is in memory. */
  get(task: number): Uint8Array | undefined {
    return this.#held.get(task)?.value;
  }

  /** A value that is in memory, to be sent from there: it does not move from here on. */
  getToSend(task: number): Uint8Array | undefined {
    const value = this.get(task);
    const held = this.#held.get(task);
    if (value !== undefined && held !== undefined) held.isSent = true;
    return value;
  }

  /**
   * A value that is in memory, in memory that threads can share where it is large: it moves there when
   * it is first asked for so.
   */
  share(task: number): Uint8Array | undefined {
    const held = this.#held.get(task);
    if (held?.value === undefined || held.sizeBytes < SHARED_BYTES_MIN) return held?.value;
    if (isShared(held.value)) return held.value;
    const shared = shareByFile(held.value) ?? sharedCopy(held.value);
    this.#givenUp.add(held.value);
    held.value = shared;
    return shared;
  }

  /**
   * A value that is in memory, in a file in memory where it is large, so that it can be mapped: it moves
   * there when it is first asked for so.
   */
  inFile(task: number): Uint8Array | undefined {
    const held = this.#held.get(task);
    if (held?.value === undefined || fileOf(held.value.buffer) !== undefined) return held?.value;
    const moved = moveToFile(held.value);
    if (moved === undefined) return held.value;
    this.#givenUp.add(held.value);
    held.value = moved;
    return moved;
  }

  /**
   * Holds a value that is in memory for somebody who reads it there: its bytes stay as they are until
   * it is given back, whatever becomes of it here.
   */
  lend(task: number): LentValue | undefined {
    const held = this.#held.get(task);
    if (held?.value === undefined) return undefined;
    const { value } = held;
    held.loans += 1;
    return {
      value,
      giveBack: () => {
        held.loans -= 1;
        if (held.loans === 0 && held.isDropped) this.#totalBytes -= held.sizeBytes;
      },
    };
  }

  /** Whether the memory of a value may become a thread's: not while somebody else reads from it. */
  mayMove(task: number): boolean {
    const held = this.#held.get(task);
    return held?.value !== undefined && held.loans === 0 && !held.isSent;
  }

  /** Bytes of a value, wherever it is; undefined where it is not held. */
  sizeOf(task: number): number | undefined {
    return this.#held.get(task)?.sizeBytes;
  }

  /**
   * Forgets values, and removes their files; unknown ones are passed over. Returns the bytes that
   * were in memory.
   */
  drop(tasks: readonly number[]): number {
    let memoryBytes = 0;
    for (const task of tasks) {
      const held = this.#held.get(task);
      if (held === undefined) continue;
      if (held.loans === 0) this.#totalBytes -= held.sizeBytes;
      held.isDropped = true;
      this.#held.delete(task);
      if (held.value !== undefined) {
        memoryBytes += held.value.byteLength;
        this.#giveUp(held.value);
      }
      if (held.file !== undefined) void remove(held.file.path);
    }
    return memoryBytes;
  }

  clear(): void {
    this.drop([...this.#held.keys()]);
  }

  /**
   * Writes a value to a file, and keeps it in memory. Returns whether it is still the same value
   * that is held then.
   *
   * @throws what the system said: the value stays in memory only.
   */
  async spill(task: number): Promise<boolean> {
    const held = this.#held.get(task);
    if (held?.value === undefined || held.file !== undefined) return held?.file !== undefined;
    const path = join(this.#spillDirectory(), `${task}-${nextFile++}`);
    const file = await writeSpillFile(path, held.value);
    if (this.#held.get(task) !== held) {
      await remove(path);
      return false;
    }
    held.file = file;
    return true;
  }

  /** Gives up the memory of a value that is in a file. */
  evict(task: number): void {
    const held = this.#held.get(task);
    if (held?.file === undefined) return;
    const { value } = held;
    held.value = undefined;
    if (value !== undefined) this.#giveUp(value);
  }

  /**
   * Reads a spilled value into memory. Its file stays, so that it can be given up again at once.
   *
   * @throws FarmError `ERR_LOST_DATA` where that cannot be done.
   */
  async load(task: number): Promise<void> {
    const held = this.#held.get(task);
    if (held === undefined || held.value !== undefined || held.file === undefined) return;
    const value = await readSpillFile(held.file);
    if (this.#held.get(task) === held) held.value = value;
  }

  /**
   * Part of a value: of a spilled one only what is asked for is read.
   *
   * @throws FarmError `ERR_LOST_DATA` where it is not held, or its file is of no use.
   */
  async read(task: number, offset: number, length: number): Promise<Uint8Array> {
    const held = this.#held.get(task);
    if (held?.value !== undefined) {
      held.isSent = true;
      return held.value.subarray(offset, offset + length);
    }
    if (held?.file === undefined) throw new FarmError('ERR_LOST_DATA', `${task} is not held`);
    try {
      const bytes = await readSpillFile(held.file, offset, length);
      this.#servedBytes += bytes.byteLength;
      if (this.#servedBytes >= COLLECT_BYTES) {
        this.#servedBytes = 0;
        collectYoungGarbage();
      }
      return bytes;
    } catch (error) {
      // Where it was dropped meanwhile, nobody minds.
      if (this.#held.get(task) === held && held.value === undefined) {
        this.onLost(task, error instanceof Error ? error.message : String(error));
      }
      throw error;
    }
  }

  #giveUp(value: Uint8Array): void {
    this.#givenUp.add(value);
    closeFileOf(value.buffer);
    if (isShared(value)) this.onSharedGivenUp();
  }

  #spillDirectory(): string {
    if (this.#directory === null) {
      throw new FarmError('ERR_INTERNAL', 'a store without a directory cannot spill');
    }
    if (!this.#hasDirectory) mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    this.#hasDirectory = true;
    return this.#directory;
  }
}

/** Whether a value is in memory that threads can share. */
export function isShared(value: Uint8Array): boolean {
  return value.buffer instanceof SharedArrayBuffer;
}

function sharedCopy(value: Uint8Array): Uint8Array {
  const shared = new Uint8Array(new SharedArrayBuffer(value.byteLength));
  shared.set(value);
  return shared;
}

async function remove(path: string): Promise<void> {
  try {
    await rm(path, { force: true });
  } catch {
    // The worker's directory is removed as a whole at its end.
  }
}
