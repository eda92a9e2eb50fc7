import { GraphBuilder } from './graph.ts';
import type { TaskGraph } from './graph.ts';

/** What is published of one size. */
export interface NumpySize {
  /** Chunks along each axis, an even number. */
  readonly partitions: number;
  readonly resultKiB: number;
  readonly durationMs: number;
}

/** A matrix plus its transpose, the right half of the sum, mean of its rows, sum of these. */
export function numpy({ partitions, resultKiB, durationMs }: NumpySize): TaskGraph {
  const builder = new GraphBuilder();
  const half = partitions / 2;
  const at = (i: number, j: number): number => i * partitions + j;
  const used: number[] = [];
  for (let i = 0; i < partitions; i++) {
    for (let j = 0; j < partitions; j++) if (i >= half || j >= half) used.push(at(i, j));
  }
  const sources = builder.stage('source', used.length);
  const chunks = new Map(used.map((position, index) => [position, sources[index] ?? -1]));
  const rightHalf = Array.from({ length: partitions * half }, (_, index) => ({
    i: Math.floor(index / half),
    j: half + (index % half),
  }));
  const sums = builder.stage('add', rightHalf.length, (index) => {
    const { i, j } = rightHalf[index] ?? { i: -1, j: -1 };
    return [chunks.get(at(i, j)) ?? -1, chunks.get(at(j, i)) ?? -1];
  });
  const means = builder.stage('mean-chunk', sums.length, (i) => sums.slice(i, i + 1));
  const rows = Array.from({ length: partitions }, (_, i) => means.slice(i * half, (i + 1) * half));
  builder.tree('sum', builder.trees('mean', rows, 4), 4);
  return builder.build(`numpy-50K-${partitions}`, resultKiB, durationMs);
}
