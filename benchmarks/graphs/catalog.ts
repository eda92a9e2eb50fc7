/**
 * The benchmark graphs of "Runtime vs Scheduler: Analyzing Dask's Overheads" (Böhm, Beránek 2020)
 * and the thesis around it: rebuilt from its published scripts and properties.
 */
import { bag } from './bag.ts';
import type { TaskGraph } from './graph.ts';
import { groupby } from './groupby.ts';
import { joinByHour, joinByMinute } from './join.ts';
import { merge, mergeSlow } from './merge.ts';
import { numpy } from './numpy.ts';
import { tree } from './tree.ts';
import { vectorizer } from './vectorizer.ts';
import { wordbag } from './wordbag.ts';
import { xarray } from './xarray.ts';

/** Milliseconds a task with workers that answer at once, on 24 and on 168 of them. */
export interface PublishedOverhead {
  readonly dask: readonly [number, number];
  readonly rsds: readonly [number, number];
}

/** A graph, with what is published of it. */
export interface CatalogEntry {
  readonly tasks: number;
  readonly edges: number;
  /** Dependencies on the longest path. */
  readonly longestPath: number;
  readonly overhead: PublishedOverhead | null;
  readonly build: () => TaskGraph;
}

/** All graphs, by name. */
export const CATALOG: ReadonlyMap<string, CatalogEntry> = new Map([
  ...[10, 15, 20, 25, 30, 50, 100].map((thousands): [string, CatalogEntry] => {
    const count = thousands * 1000;
    const published = new Map<number, PublishedOverhead>([
      [10, { dask: [0.31, 0.36], rsds: [0.06, 0.08] }],
      [30, { dask: [0.33, 0.38], rsds: [0.07, 0.07] }],
    ]);
    const overhead = published.get(thousands) ?? null;
    return entry(`merge-${thousands}K`, [count + 1, count, 1], () => merge(count), overhead);
  }),
  entry('merge_slow-5K-0.1', [5_001, 5_000, 1], () => mergeSlow(5_000, 0.1)),
  entry('merge_slow-20K-0.01', [20_001, 20_000, 1], () => mergeSlow(20_000, 0.01)),
  entry('merge_slow-20K-0.1', [20_001, 20_000, 1], () => mergeSlow(20_000, 0.1)),
  entry('merge_slow-20K-1', [20_001, 20_000, 1], () => mergeSlow(20_000, 1)),
  entry('tree-15', [32_767, 32_766, 14], () => tree(15), {
    dask: [0.43, 0.43],
    rsds: [0.07, 0.08],
  }),
  entry(
    'xarray-25',
    [552, 862, 10],
    () =>
      xarray({
        chunk: 25,
        rows: 1,
        columns: 3,
        hasPrepared: false,
        resultKiB: 55.7,
        durationMs: 3.1,
      }),
    { dask: [1.32, 1.36], rsds: [0.93, 1.22] },
  ),
  entry(
    'xarray-5',
    [9_258, 14_976, 10],
    () =>
      xarray({
        chunk: 5,
        rows: 5,
        columns: 11,
        hasPrepared: true,
        resultKiB: 3.3,
        durationMs: 0.4,
      }),
    { dask: [1.38, 1.39], rsds: [0.97, 0.98] },
  ),
  ...(
    [
      [25, 10, 292, 1233, [236, 415, 6]],
      [25, 50, 12.6, 54.9, [5_458, 10_357, 7]],
      [25, 100, 3.2, 13.9, [21_631, 41_430, 8]],
      [25, 200, 0.8, 3.6, [86_116, 165_715, 9]],
      [50, 50, 25.2, 214, [5_458, 10_357, 7]],
    ] as const
  ).map(([thousands, partitions, resultKiB, durationMs, published]) =>
    entry(
      `bag-${thousands}K-${partitions}`,
      published,
      () => bag({ thousands, partitions, resultKiB, durationMs }),
      thousands === 50 ? { dask: [1.33, 1.36], rsds: [0.84, 0.87] } : null,
    ),
  ),
  ...(
    [
      [10, 70_108, 169, [209, 228, 7]],
      [50, 2_999, 8.3, [4_892, 5_491, 9]],
      [100, 760, 2.6, [19_334, 21_783, 10]],
      [200, 191, 0.9, [77_067, 86_966, 11]],
    ] as const
  ).map(([partitions, resultKiB, durationMs, published]) =>
    entry(
      `numpy-50K-${partitions}`,
      published,
      () => numpy({ partitions, resultKiB, durationMs }),
      partitions === 100 ? { dask: [0.65, 0.66], rsds: [0.27, 0.27] } : null,
    ),
  ),
  ...(
    [
      [90, 8, 501, 7.7, [1_434, 1_973, 7]],
      [90, 1, 64.3, 3.9, [11_424, 15_743, 8]],
      [360, 8, 503, 8, [5_714, 7_873, 8]],
      [360, 1, 64.3, 3.8, [45_674, 62_953, 9]],
      [1440, 8, 503, 7.7, [22_842, 31_481, 9]],
      [1440, 1, 64.3, 3.8, [182_682, 251_801, 10]],
      [2880, 16, 1005, 11.9, [22_842, 31_481, 9]],
      [2880, 8, 503, 7.7, [45_674, 62_953, 9]],
    ] as const
  ).map(([days, hours, resultKiB, durationMs, published]) => {
    const scalars = days === 90 ? 4 : 2;
    const overheads = new Map<number, PublishedOverhead>([
      [8, { dask: [0.62, 0.63], rsds: [0.26, 0.27] }],
      [1, { dask: [0.65, 0.67], rsds: [0.28, 0.28] }],
    ]);
    return entry(
      `groupby-${days}-1S-${hours}H`,
      published,
      () => groupby({ days, hours, resultKiB, durationMs, scalars }),
      days === 1440 ? (overheads.get(hours) ?? null) : null,
    );
  }),
  entry(
    'join-1-1S-1H',
    [673, 1_224, 5],
    () => joinByHour('join-1-1S-1H', { resultKiB: 15.3, durationMs: 33 }),
    { dask: [0.51, 0.52], rsds: [0.15, 0.45] },
  ),
  entry('join-1-2s-1H', [673, 1_224, 5], () =>
    joinByHour('join-1-2s-1H', { resultKiB: 9.3, durationMs: 9.8 }),
  ),
  entry('join-1-1S-1T', [72_001, 125_568, 11], joinByMinute, {
    dask: [0.49, 0.5],
    rsds: [0.16, 0.17],
  }),
  entry('vectorizer-1M-300', [301, 0, 0], vectorizer),
  entry('wordbag-100K-50', [250, 200, 2], wordbag),
]);

/**
 * Builds graphs by name.
 *
 * @throws Error naming a graph that is not in the catalog.
 */
export function buildGraphs(names: Iterable<string>): TaskGraph[] {
  return [...names].map((name) => {
    const found = CATALOG.get(name);
    if (found === undefined) {
      throw new Error(`no graph ${name}; there is: ${[...CATALOG.keys()].join(', ')}`);
    }
    return found.build();
  });
}

function entry(
  name: string,
  [tasks, edges, longestPath]: readonly [number, number, number],
  build: () => TaskGraph,
  overhead: PublishedOverhead | null = null,
): [string, CatalogEntry] {
  return [name, { tasks, edges, longestPath, overhead, build }];
}
