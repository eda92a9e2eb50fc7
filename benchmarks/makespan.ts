/**
 * Claim: on the graphs of the Dask overhead studies, with a network of 1 Gb/s, placement beats
 * random placement on the geometric mean, and is nowhere worse than 1.1 times.
 *
 * In virtual time, in one process: the production cores of scheduler and workers, 24 or 168 workers
 * of one slot. Each node has one full-duplex link of 1 Gb/s that all its workers share; each task
 * takes the published mean of its graph (or, spread, a log-normal around it) and makes a result of
 * the published mean size. The scheduler's own time does not count: see `zero-worker.ts` for that.
 *
 * `npm run node -- benchmarks/makespan.ts [--quick] [--spread] [--seeds N] [--layout 7x24] [GRAPH...]`
 */
import { parseArgs } from 'node:util';

import { buildGraphs } from './graphs/catalog.ts';
import type { TaskGraph } from './graphs/graph.ts';
import { machineLine, median } from './machine.ts';
import { simulate } from './makespan/simulate.ts';
import type { Layout, Outcome, Simulation } from './makespan/simulate.ts';

const QUICK = [
  'merge-10K',
  'tree-15',
  'xarray-25',
  'bag-25K-10',
  'bag-25K-50',
  'numpy-50K-10',
  'numpy-50K-50',
  'groupby-90-1S-8H',
  'join-1-1S-1H',
  'join-1-2s-1H',
  'vectorizer-1M-300',
  'wordbag-100K-50',
];
const FULL = [
  ...QUICK,
  'merge-25K',
  'merge_slow-5K-0.1',
  'xarray-5',
  'bag-25K-100',
  'numpy-50K-100',
  'groupby-90-1S-1H',
  'groupby-360-1S-8H',
  'groupby-360-1S-1H',
  'groupby-1440-1S-8H',
  'join-1-1S-1T',
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    spread: { type: 'boolean', default: false },
    seeds: { type: 'string', default: '3' },
    layout: { type: 'string', multiple: true, default: ['1x24', '7x24', '24x1'] },
  },
});
const seeds = Number(values.seeds);
const durations: Simulation['durations'] = values.spread ? 'spread' : 'constant';
const names = positionals.length > 0 ? positionals : values.quick ? QUICK : FULL;

console.log(machineLine());
console.log(`durations ${durations}, medians of ${seeds} seeds; nodes x workers on each`);
const graphs = buildGraphs(names);
for (const text of values.layout) {
  const [nodes = NaN, workersPerNode = NaN] = text.split('x').map(Number);
  table(text, { nodes, workersPerNode });
}

function table(title: string, layout: Layout): void {
  const ratios: number[] = [];
  const columns = [
    'farm s',
    'random s',
    'ratio',
    'bound s',
    '/bound',
    'GB',
    'rnd GB',
    'link',
    'moved',
  ];
  console.log(`\n${title.padEnd(20)}${columns.map((column) => column.padStart(9)).join('')}`);
  for (const graph of graphs) {
    const ours = outcomes(graph, layout, 'farm');
    const random = outcomes(graph, layout, 'random');
    const ourMs = median(ours.map(({ makespanMs }) => makespanMs));
    const randomMs = median(random.map(({ makespanMs }) => makespanMs));
    const boundMs = median(ours.map((outcome) => outcome.boundMs));
    ratios.push(ourMs / randomMs);
    const cells = [
      (ourMs / 1000).toFixed(3),
      (randomMs / 1000).toFixed(3),
      (ourMs / randomMs).toFixed(2),
      (boundMs / 1000).toFixed(3),
      (ourMs / boundMs).toFixed(2),
      gigabytes(ours),
      gigabytes(random),
      median(ours.map(({ busiestLink }) => busiestLink)).toFixed(2),
      String(median(ours.map(({ moved }) => moved))),
    ];
    console.log(graph.name.padEnd(20) + cells.map((cell) => cell.padStart(9)).join(''));
  }
  const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
  const worst = Math.max(...ratios);
  console.log(
    `${title}: farm ÷ random, geometric mean ${mean.toFixed(3)}, worst ${worst.toFixed(2)}`,
  );
}

function outcomes(graph: TaskGraph, layout: Layout, policy: Simulation['policy']): Outcome[] {
  return Array.from({ length: seeds }, (_, seed) =>
    simulate({ graph, layout, policy, durations, seed: seed + 1 }),
  );
}

/** What went over all links together. */
function gigabytes(all: readonly Outcome[]): string {
  return (median(all.map(({ remoteBytes }) => remoteBytes)) / 1e9).toFixed(2);
}
