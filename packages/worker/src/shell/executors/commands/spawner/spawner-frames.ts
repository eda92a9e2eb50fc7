/**
 * What passes between a worker and its spawners. A frame is its length (4 bytes, little endian) and
 * its body. To the spawner go fields that end in NUL, which no text of a command can have:
 *
 * - `E`, `NAME=value`…: the environment that commands inherit
 * - `R`, id, lane, bytes to capture, directory, stdout, stderr, entry of its control group or nothing,
 *   number of variables, `NAME=value`…, argv…: begins when those before it in its lane have ended
 * - `S`, id: end this command, by SIGTERM and 2 s later by SIGKILL to its process group, and first
 *   give back all behind it in its lane; where it has not begun, give it back
 * - `T`, id: give this command back, if it has not begun
 *
 * stdout and stderr are `c` (capture), `s` (send as it comes), `i` (ignore), `w` or `a` and a path
 * (write or append), or, for stderr, `=` (as stdout). From the spawner come, by their first byte:
 *
 * - `r`: ready
 * - `s`, id, pid: has run for a few milliseconds
 * - `o`, id, stream, bytes: output
 * - `e`, id, exit code, signal, µs, and for both streams total, head and tail length; the bytes
 * - `f`, id, what failed, code, reason: not started
 * - `t`, id: given back, it has not begun and will not; those of a lane come last one first
 * - `k`, id: kept, it has begun
 *
 * Ends may be told a few milliseconds late, several at once, while much is ahead. Each is in the
 * held reports before the next command of its lane begins: who has read all that a spawner wrote,
 * and what it held, knows that of each lane at most one command more has begun.
 */

import { constants } from 'node:os';

import { keptText } from '../captured-output.ts';

/** What came from a spawner. */
export type SpawnerReport =
  | { readonly kind: 'ready' }
  | { readonly kind: 'started'; readonly id: number; readonly pid: number }
  | {
      readonly kind: 'output';
      readonly id: number;
      readonly stream: 'stdout' | 'stderr';
      readonly chunk: Uint8Array;
    }
  | {
      readonly kind: 'ended';
      readonly id: number;
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly durationMs: number;
      readonly stdout: string;
      readonly stderr: string;
    }
  | { readonly kind: 'taken-back' | 'kept'; readonly id: number }
  | {
      readonly kind: 'failed';
      readonly id: number;
      /** `cwd`, `stdout`, `stderr` or `program`. */
      readonly what: string;
      /** Name of the system's error: `ENOENT`. */
      readonly code: string;
      readonly reason: string;
    };

/** A frame of text fields; none of them has a NUL. */
export function textFrame(fields: readonly string[]): Buffer {
  const text = fields.join('\0');
  const bytes = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(4 + bytes);
  frame.writeUInt32LE(bytes, 0);
  frame.write(text, 4);
  return frame;
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** @returns the bodies that are complete; they are valid until the next call */
  push(chunk: Buffer): Buffer[] {
    const all = this.#rest.byteLength === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const bodies: Buffer[] = [];
    let at = 0;
    while (all.byteLength - at >= 4) {
      const end = at + 4 + all.readUInt32LE(at);
      if (end > all.byteLength) break;
      bodies.push(all.subarray(at + 4, end));
      at = end;
    }
    this.#rest = all.subarray(at);
    return bodies;
  }
}

/** Reads the body of a frame from a spawner. */
export function parseReport(body: Buffer): SpawnerReport {
  const kind = String.fromCharCode(body[0] ?? 0);
  if (kind === 'r') return { kind: 'ready' };
  const id = body.readUInt32LE(1);
  switch (kind) {
    case 's':
      return { kind: 'started', id, pid: body.readUInt32LE(5) };
    case 'o':
      return {
        kind: 'output',
        id,
        stream: body[5] === 0 ? 'stdout' : 'stderr',
        chunk: body.subarray(6),
      };
    case 'e':
      return parseEnd(id, body);
    case 't':
      return { kind: 'taken-back', id };
    case 'k':
      return { kind: 'kept', id };
    default: {
      const [what = '', code = '', reason = ''] = body.toString('utf8', 5).split('\0');
      return { kind: 'failed', id, what, code, reason };
    }
  }
}

const END_BYTES = 1 + 4 + 4 + 4 + 8 + 2 * 16;

function parseEnd(id: number, body: Buffer): SpawnerReport {
  const signal = body.readInt32LE(9);
  let at = END_BYTES;
  const take = (bytes: number): Buffer => body.subarray(at, (at += bytes));
  const stream = (offset: number): string => {
    const total = Number(body.readBigUInt64LE(offset));
    const head = take(body.readUInt32LE(offset + 8));
    const tail = take(body.readUInt32LE(offset + 12));
    return total === 0 ? '' : keptText(head, tail, total);
  };
  return {
    kind: 'ended',
    id,
    exitCode: signal === 0 ? body.readInt32LE(5) : null,
    signal: signal === 0 ? null : signalName(signal),
    durationMs: Number(body.readBigUInt64LE(13)) / 1000,
    stdout: stream(21),
    stderr: stream(37),
  };
}

function signalName(number: number): string {
  for (const [name, value] of Object.entries(constants.signals)) {
    if (value === number) return name;
  }
  return `signal ${number}`;
}
