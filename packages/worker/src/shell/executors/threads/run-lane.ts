/**
 * The memory that a slot's thread and the worker's main thread share: the state of every run given
 * to the thread, and a ring through which results come back without a message each.
 *
 * Runs are numbered in the order they are given (their sequence number, modulo 2^32). The thread
 * takes them in that order, so a run is over once the cursor is past it, executing while the cursor
 * is at it and its state says started, and waiting otherwise. Starting and withdrawing are one
 * compare-and-exchange on the same word, so exactly one of the two happens.
 */

/** Runs a thread can have been given and not be done with. */
export const LANE_RUNS_MAX = 4096;

/** What a record carries: a value, or the failure with the code at this index of the table. */
export const RECORD_KINDS = {
  value: 1,
  taskFailed: 2,
  resultFailed: 3,
  functionFailed: 4,
  argumentsFailed: 5,
} as const;

/** Bits of a record's second word for its kind; above is the processor time. */
const KIND_BITS = 3;
/** Processor time is counted in so many microseconds; one more than it was, 0 where nobody measured. */
const CPU_UNIT_US = 10;
const CPU_UNITS_MAX = 2 ** (32 - KIND_BITS) - 2;

const RUN_MASK = LANE_RUNS_MAX - 1;
const RING_BYTES = 1 << 20;
const RING_MASK = RING_BYTES - 1;
/** Larger results travel in a message, which moves them instead of copying them. */
const RECORD_BYTES_MAX = RING_BYTES >> 4;
const HEADER_BYTES = 16;
const SKIP = 0;

// Words of the head.
const CURSOR = 0;
const HELD = 1;
const NOTIFIED = 2;
const WRITTEN = 3;
const READ = 4;
const OUTPUT = 5;
const STATES = 16;
const RING_OFFSET = (STATES + LANE_RUNS_MAX) * 4;

const PENDING = 0;
const STARTED = 1;
const WITHDRAWN = 2;
/** Started, and it has looked at its signal. */
const LISTENING = 3;

/** Characters of output a thread may be ahead of the main thread before it waits. */
const OUTPUT_AHEAD_MAX = 4_194_304;

/** Allocates the memory of a lane. */
export function createLane(): SharedArrayBuffer {
  return new SharedArrayBuffer(RING_OFFSET + RING_BYTES);
}

/** How far sequence number `a` is ahead of `b`; negative where it is behind. */
export function sequenceDistance(a: number, b: number): number {
  return (a - b) | 0;
}

/** The lane as the main thread uses it. */
export class LaneReader {
  readonly #words: Int32Array;
  readonly #ring: Uint8Array;
  readonly #ringWords: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, STATES + LANE_RUNS_MAX);
    this.#ring = new Uint8Array(memory, RING_OFFSET, RING_BYTES);
    this.#ringWords = new Int32Array(memory, RING_OFFSET, RING_BYTES / 4);
  }

  /** Sequence number of the run the thread is at, or will take next. */
  get cursor(): number {
    return Atomics.load(this.#words, CURSOR) >>> 0;
  }

  /** Makes a run startable. To be called before the thread is told of it. */
  add(sequence: number): void {
    Atomics.store(this.#words, STATES + (sequence & RUN_MASK), PENDING);
  }

  /** Takes a run back; false where it has started. */
  withdraw(sequence: number): boolean {
    if (sequenceDistance(this.cursor, sequence) > 0) return false;
    const word = STATES + (sequence & RUN_MASK);
    return Atomics.compareExchange(this.#words, word, PENDING, WITHDRAWN) === PENDING;
  }

  /** Whether the thread executes the run at this very moment. */
  isExecuting(sequence: number): boolean {
    const state = Atomics.load(this.#words, STATES + (sequence & RUN_MASK));
    return (state === STARTED || state === LISTENING) && this.cursor === sequence;
  }

  /** Whether the run, which executes, has looked at its signal. */
  hasSignal(sequence: number): boolean {
    return Atomics.load(this.#words, STATES + (sequence & RUN_MASK)) === LISTENING;
  }

  /**
   * Keeps the thread from starting any further run, until {@link release}. What `isExecuting` says
   * while the thread is held stays true until that run ends.
   */
  hold(): void {
    Atomics.store(this.#words, HELD, 1);
  }

  /** Lets a held thread go on. */
  release(): void {
    Atomics.store(this.#words, HELD, 0);
    Atomics.notify(this.#words, HELD);
  }

  /**
   * Takes the records written so far, in order. The bytes are the receiver's own.
   */
  drain(
    take: (
      sequence: number,
      kind: number,
      durationUs: number,
      bytes: Uint8Array,
      cpuUs: number | undefined,
    ) => void,
  ): void {
    // Reset first: what is written from here on brings a notification of its own.
    Atomics.store(this.#words, NOTIFIED, 0);
    const written = Atomics.load(this.#words, WRITTEN);
    let read = Atomics.load(this.#words, READ);
    if (read === written) return;
    while (read !== written) {
      const at = read & RING_MASK;
      const word = at >> 2;
      const packed = (this.#ringWords[word + 1] ?? SKIP) >>> 0;
      const kind = packed & (2 ** KIND_BITS - 1);
      const length = this.#ringWords[word + 3] ?? 0;
      if (kind !== SKIP) {
        const sequence = (this.#ringWords[word] ?? 0) >>> 0;
        const durationUs = (this.#ringWords[word + 2] ?? 0) >>> 0;
        const from = at + HEADER_BYTES;
        const units = packed >>> KIND_BITS;
        const cpuUs = units === 0 ? undefined : (units - 1) * CPU_UNIT_US;
        take(sequence, kind, durationUs, this.#ring.slice(from, from + length), cpuUs);
      }
      read = (read + recordBytes(length)) | 0;
    }
    Atomics.store(this.#words, READ, read);
  }

  /** Says that this much output was taken from the thread's messages. */
  tookOutput(length: number): void {
    const before = Atomics.sub(this.#words, OUTPUT, length);
    if (before > OUTPUT_AHEAD_MAX) Atomics.notify(this.#words, OUTPUT);
  }
}

/** The lane as the thread uses it. */
export class LaneWriter {
  readonly #words: Int32Array;
  readonly #ring: Uint8Array;
  readonly #ringWords: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, STATES + LANE_RUNS_MAX);
    this.#ring = new Uint8Array(memory, RING_OFFSET, RING_BYTES);
    this.#ringWords = new Int32Array(memory, RING_OFFSET, RING_BYTES / 4);
  }

  /** Starts a run; false where it was withdrawn. Waits while the lane is held. */
  start(sequence: number): boolean {
    const word = STATES + (sequence & RUN_MASK);
    for (;;) {
      Atomics.wait(this.#words, HELD, 1);
      if (Atomics.compareExchange(this.#words, word, PENDING, STARTED) !== PENDING) return false;
      // A hold that began in between counts: the main thread has looked already.
      if (Atomics.load(this.#words, HELD) === 0) return true;
      Atomics.store(this.#words, word, PENDING);
    }
  }

  /** Says that the run, which executes, has looked at its signal. */
  tookSignal(sequence: number): void {
    const word = STATES + (sequence & RUN_MASK);
    // An ended run's place may be another run's by now.
    if (Atomics.load(this.#words, CURSOR) >>> 0 === sequence) {
      Atomics.compareExchange(this.#words, word, STARTED, LISTENING);
    }
  }

  /** Moves on to the next run. To be called after the run's record was written. */
  pass(sequence: number): void {
    Atomics.store(this.#words, CURSOR, sequence + 1);
  }

  /** Writes a record; false where it does not fit and has to travel in a message. */
  write(
    sequence: number,
    kind: number,
    durationUs: number,
    bytes: Uint8Array,
    cpuUs?: number,
  ): boolean {
    const length = bytes.byteLength;
    const needed = recordBytes(length);
    if (needed > RECORD_BYTES_MAX) return false;
    let written = Atomics.load(this.#words, WRITTEN);
    const free = RING_BYTES - ((written - Atomics.load(this.#words, READ)) | 0);
    // A record lies in one piece; what is left before the ring's end is skipped.
    const before = RING_BYTES - (written & RING_MASK);
    const skipped = before < needed ? before : 0;
    if (free < skipped + needed) return false;
    if (skipped > 0) {
      this.#header(written & RING_MASK, 0, SKIP, 0, skipped - HEADER_BYTES);
      written = (written + skipped) | 0;
    }
    const at = written & RING_MASK;
    this.#header(at, sequence, withCpu(kind, cpuUs), durationUs, length);
    this.#ring.set(bytes, at + HEADER_BYTES);
    Atomics.store(this.#words, WRITTEN, (written + needed) | 0);
    return true;
  }

  /** Whether the main thread has to be told to look: it has not been told since it last looked. */
  shouldNotify(): boolean {
    return Atomics.exchange(this.#words, NOTIFIED, 1) === 0;
  }

  /** Counts output about to be sent; waits while the main thread is too far behind. */
  sendingOutput(length: number): void {
    for (;;) {
      const ahead = Atomics.load(this.#words, OUTPUT);
      if (ahead <= OUTPUT_AHEAD_MAX) break;
      Atomics.wait(this.#words, OUTPUT, ahead, 100);
    }
    Atomics.add(this.#words, OUTPUT, length);
  }

  #header(at: number, sequence: number, kind: number, durationUs: number, length: number): void {
    const word = at >> 2;
    this.#ringWords[word] = sequence;
    this.#ringWords[word + 1] = kind;
    this.#ringWords[word + 2] = durationUs;
    this.#ringWords[word + 3] = length;
  }
}

function withCpu(kind: number, cpuUs: number | undefined): number {
  if (cpuUs === undefined) return kind;
  const units = Math.min(CPU_UNITS_MAX, Math.round(cpuUs / CPU_UNIT_US));
  return ((units + 1) << KIND_BITS) | kind;
}

/** Records start at multiples of a header, so that a header always fits before the ring's end. */
function recordBytes(length: number): number {
  return HEADER_BYTES + ((length + HEADER_BYTES - 1) & ~(HEADER_BYTES - 1));
}
