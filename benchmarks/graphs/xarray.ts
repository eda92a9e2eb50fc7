import { GraphBuilder } from './graph.ts';
import type { TaskGraph } from './graph.ts';

const WEEKS = 52;

/** What is published of one size. */
export interface XarraySize {
  /** Grid points along one side of a chunk. */
  readonly chunk: number;
  /** Chunks of the 25 × 53 grid. */
  readonly rows: number;
  readonly columns: number;
  /** Whether each chunk has a task of its own behind its load. */
  readonly hasPrepared: boolean;
  readonly resultKiB: number;
  readonly durationMs: number;
}

/** Deviations of air temperature from the means of its weeks, summed up over a grid. */
export function xarray(size: XarraySize): TaskGraph {
  const { chunk, rows, columns, hasPrepared, resultKiB, durationMs } = size;
  const builder = new GraphBuilder();
  const root = builder.stage('open', 1);
  const chunks = rows * columns;
  const loads = builder.stage('load', chunks, () => root);
  const prepared = hasPrepared
    ? builder.stage('prepare', chunks, (i) => loads.slice(i, i + 1))
    : loads;
  const count = chunks * WEEKS;
  const chunkOf = (index: number): number => Math.floor(index / WEEKS);
  const means = builder.stage('mean', count, (i) => [loads[chunkOf(i)] ?? -1]);
  const deviations = builder.stage('sub', count, (i) => [
    prepared[chunkOf(i)] ?? -1,
    means[i] ?? -1,
  ]);
  let level = builder.stage('partial', count, (i) => deviations.slice(i, i + 1));
  let shape: Shape = [rows, columns, WEEKS];
  while (level.length > 1) {
    const from: Shape = shape;
    const inputs = level;
    shape = [half(from[0]), half(from[1]), half(from[2])];
    const [, width, depth] = shape;
    level = builder.stage('combine', shape[0] * width * depth, (index) => {
      const x = Math.floor(index / (width * depth));
      const y = Math.floor(index / depth) % width;
      return corners(from, [x, y, index % depth]).map((at) => inputs[at] ?? -1);
    });
  }
  return builder.build(`xarray-${chunk}`, resultKiB, durationMs);
}

type Shape = readonly [number, number, number];

/** Positions of the up to 2 × 2 × 2 cells that one cell of the next level takes. */
function corners(shape: Shape, [x, y, z]: Shape): number[] {
  const found: number[] = [];
  for (let i = 2 * x; i < Math.min(2 * x + 2, shape[0]); i++) {
    for (let j = 2 * y; j < Math.min(2 * y + 2, shape[1]); j++) {
      for (let k = 2 * z; k < Math.min(2 * z + 2, shape[2]); k++) {
        found.push((i * shape[1] + j) * shape[2] + k);
      }
    }
  }
  return found;
}

function half(length: number): number {
  return Math.ceil(length / 2);
}
