import { GraphBuilder } from './graph.ts';
import type { TaskGraph } from './graph.ts';

/** What is published of one size. */
export interface GroupbySize {
  readonly days: number;
  /** Hours of data in one partition. */
  readonly hours: number;
  readonly resultKiB: number;
  readonly durationMs: number;
  /** Scalar tasks behind the two reductions: 2, or 4. */
  readonly scalars: 2 | 4;
}

/** A table of days at one row a second: group by, and filter and resample; both reduced. */
export function groupby(size: GroupbySize): TaskGraph {
  const { days, hours, resultKiB, durationMs, scalars } = size;
  const count = (days * 24) / hours;
  const builder = new GraphBuilder();
  const sources = builder.stage('source', count);
  const only = (tasks: readonly number[]) => (i: number) => tasks.slice(i, i + 1);
  const groups = builder.stage('groupby-chunk', count, only(sources));
  const filtered = builder.stage('filter', count, only(sources));
  const resampled = builder.stage('resample', count, (i) => {
    const start = Math.min(i, count - 2);
    return filtered.slice(start, start + 2);
  });
  const sums = builder.stage('sum-chunk', count, only(resampled));
  const first = builder.tree('groupby-agg', groups, 8);
  const second = builder.tree('sum-agg', sums, 8);
  const constants = scalars === 4 ? builder.stage('constant', 1) : [];
  const [scalar = -1] = builder.stage('scalar', 1, () => [first]);
  const [last = -1] =
    scalars === 4 ? builder.stage('scale', 1, () => [scalar, ...constants]) : [scalar];
  builder.stage('join', 1, () => [last, second]);
  return builder.build(`groupby-${days}-1S-${hours}H`, resultKiB, durationMs);
}
