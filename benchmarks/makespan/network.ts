import type { Clock } from '../../sim/clock.ts';
import type { Random } from '../../sim/prng.ts';

/** Bytes that travel as one, and how many of those one transfer has on its way, as in production. */
const CHUNK_BYTES = 1_048_576;
const CHUNKS_IN_FLIGHT = 8;
/** Between processes of one node, shared by all of them. */
const LOOPBACK_BYTES_PER_S = 1_250_000_000;
/** One way, milliseconds. */
const LATENCY_MS: readonly [number, number] = [0.1, 0.2];

/** Something that carries one chunk after the other. */
interface Lane {
  readonly bytesPerMs: number;
  freeAtMs: number;
  busyMs: number;
}

/**
 * Nodes with one full-duplex link each. A chunk waits its turn at the sender's link, then at the
 * receiver's; a transfer asks for its next chunk when one has arrived. So those who share a link at
 * either end share it about evenly, and what one end cannot take slows the other down. Processes of
 * one node share its loopback.
 */
export class NodeNetwork {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #nodes: readonly { readonly out: Lane; readonly in: Lane; readonly loopback: Lane }[];
  /** Bytes that went from node to node, and within nodes. */
  remoteBytes = 0;
  localBytes = 0;

  constructor(clock: Clock, random: Random, nodes: number, linkBytesPerS: number) {
    this.#clock = clock;
    this.#random = random;
    this.#nodes = Array.from({ length: nodes }, () => ({
      out: lane(linkBytesPerS),
      in: lane(linkBytesPerS),
      loopback: lane(LOOPBACK_BYTES_PER_S),
    }));
  }

  /** How long a small message takes this time, milliseconds. */
  latencyMs(): number {
    return this.#random.between(...LATENCY_MS);
  }

  /** The largest share of time that a link was busy in one direction. */
  busiest(overMs: number): number {
    const busy = this.#nodes.flatMap((node) => [node.out.busyMs, node.in.busyMs]);
    return Math.max(...busy) / overMs;
  }

  /** Brings bytes from node to node, from being asked for on. */
  transfer(from: number, to: number, bytes: number, done: () => void): void {
    const sender = this.#nodes[from];
    const receiver = this.#nodes[to];
    if (sender === undefined || receiver === undefined) throw new Error('no such node');
    if (from === to) this.localBytes += bytes;
    else this.remoteBytes += bytes;
    const chunks = { open: 0, leftBytes: bytes };
    const ask = (): void => {
      const size = Math.min(CHUNK_BYTES, chunks.leftBytes);
      chunks.leftBytes -= size;
      chunks.open += 1;
      this.#clock.after(this.latencyMs(), () => {
        if (from === to) this.#clock.at(occupy(sender.loopback, this.#clock.nowMs, size), arrived);
        else {
          this.#clock.at(occupy(sender.out, this.#clock.nowMs, size), () => {
            // It goes through as it comes in, where nothing else is on the link.
            const startMs = this.#clock.nowMs - size / receiver.in.bytesPerMs;
            const endMs = occupy(receiver.in, startMs, size);
            this.#clock.at(endMs + this.latencyMs(), arrived);
          });
        }
      });
    };
    const arrived = (): void => {
      chunks.open -= 1;
      if (chunks.leftBytes > 0) ask();
      else if (chunks.open === 0) done();
    };
    do ask();
    while (chunks.leftBytes > 0 && chunks.open < CHUNKS_IN_FLIGHT);
  }
}

function lane(bytesPerS: number): Lane {
  return { bytesPerMs: bytesPerS / 1000, freeAtMs: 0, busyMs: 0 };
}

/** Puts a chunk behind what is on its way and returns when it is through. */
function occupy(on: Lane, fromMs: number, bytes: number): number {
  const takesMs = bytes / on.bytesPerMs;
  on.freeAtMs = Math.max(fromMs, on.freeAtMs) + takesMs;
  on.busyMs += takesMs;
  return on.freeAtMs;
}
