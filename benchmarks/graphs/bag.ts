import { GraphBuilder } from './graph.ts';
import type { TaskGraph } from './graph.ts';

/** What is published of one size. */
export interface BagSize {
  /** Thousands of elements; for the name. */
  readonly thousands: number;
  readonly partitions: number;
  readonly resultKiB: number;
  readonly durationMs: number;
}

/** A Dask bag: filter, Cartesian product of the partitions with themselves, sum. */
export function bag({ thousands, partitions, resultKiB, durationMs }: BagSize): TaskGraph {
  const builder = new GraphBuilder();
  const sources = builder.stage('source', partitions);
  const filters = builder.stage('filter', partitions, (i) => sources.slice(i, i + 1));
  const products = builder.stage('product', partitions ** 2, (index) => {
    const i = Math.floor(index / partitions);
    const j = index % partitions;
    return [...filters.slice(i, i + 1), ...filters.slice(j, j + 1)];
  });
  const sums = builder.stage('map-sum', products.length, (i) => products.slice(i, i + 1));
  builder.tree('sum', sums, 8);
  return builder.build(`bag-${thousands}K-${partitions}`, resultKiB, durationMs);
}
