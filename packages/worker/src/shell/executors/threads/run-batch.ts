import { MEMORY_FILE_BYTES_MIN } from '../../memory-files/file-room.ts';
import { ownByFile } from '../../memory-files/map-again.ts';
import type { ExecutorRun } from '../executor.ts';
import { pieceStart, type RunsMessage } from './thread-messages.ts';

/** Batches of this size are moved to the thread rather than copied. */
const MOVED_BYTES_MIN = 16_384;

/**
 * Packs runs for a thread. Their bytes are copied, since a thread may write to what it gets; but inputs
 * that are a run's own, or shared, or in files in memory, are not, where `movesApart`.
 */
export function packRuns(
  fn: number,
  first: number,
  runs: readonly ExecutorRun[],
  movesApart: boolean = false,
): RunsMessage {
  const hasInputs = runs.some((run) => run.inputs.length > 0);
  const pieces = hasInputs ? runs.flatMap((run) => [run.args, ...run.inputs]) : runs.map(argsOf);
  const mapped = new Set<number>();
  const apart = movesApart ? takeApart(runs, pieces, mapped) : null;
  const ends = new Float64Array(pieces.length);
  let end = 0;
  for (const [index, piece] of pieces.entries()) {
    end = pieceStart(end) + piece.byteLength;
    ends[index] = end;
  }
  const bytes = new Uint8Array(end);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at = pieceStart(at + piece.byteLength);
  }
  return {
    do: 'runs',
    fn,
    first,
    keys: runs.map((run) => run.key),
    attempts: runs.some((run) => run.attempt !== 1) ? runs.map((run) => run.attempt) : null,
    resources: runs.some((run) => run.resources.length > 0)
      ? runs.map((run) => run.resources)
      : null,
    devices: runs.some((run) => run.devices !== undefined) ? runs.map((run) => run.devices) : null,
    bytes,
    ends,
    apart,
    mapped: mapped.size === 0 ? null : mapped,
    sharesInputs: movesApart && runs.some(({ shared }) => shared !== undefined),
    inputCounts: hasInputs ? runs.map((run) => run.inputs.length) : null,
    announce: runs.some((run) => run.timeoutMs !== null),
  };
}

/** What is to be moved along with a batch. */
export function movedBuffers(batch: RunsMessage): ArrayBuffer[] {
  const { buffer, byteLength } = batch.bytes;
  const packed = byteLength >= MOVED_BYTES_MIN && buffer instanceof ArrayBuffer ? [buffer] : [];
  const apart = [...(batch.apart?.values() ?? [])].flatMap((piece) => {
    return piece.buffer instanceof ArrayBuffer ? [piece.buffer] : [];
  });
  return [...packed, ...apart];
}

/**
 * Leaves an empty piece in place of each one that moves by itself, is shared, or is mapped once more,
 * which it notes in `mapped`.
 */
function takeApart(
  runs: readonly ExecutorRun[],
  pieces: Uint8Array[],
  mapped: Set<number>,
): Map<number, Uint8Array> | null {
  if (!runs.some(mayTakeApart)) return null;
  const going = new Set(runs.flatMap(({ movable = [], shared = [] }) => [...movable, ...shared]));
  const apart = new Map<number, Uint8Array>();
  for (const [index, piece] of pieces.entries()) {
    const isGoing = going.has(piece);
    const alone = isGoing ? piece : ownByFile(piece);
    if (alone === undefined) continue;
    if (!isGoing) mapped.add(index);
    apart.set(index, alone);
    pieces[index] = EMPTY;
  }
  return apart;
}

function mayTakeApart({ movable, shared, inputs }: ExecutorRun): boolean {
  if (movable !== undefined || shared !== undefined) return true;
  return inputs.some((input) => input.byteLength >= MEMORY_FILE_BYTES_MIN);
}

const EMPTY = new Uint8Array(0);

/** Bytes of a run's arguments and inputs, but for those that are there in any case. */
export function runBytes(run: ExecutorRun): number {
  let total = run.args.byteLength;
  for (const input of run.inputs) {
    if (run.shared?.has(input) !== true) total += input.byteLength;
  }
  return total;
}

function argsOf(run: ExecutorRun): Uint8Array {
  return run.args;
}
