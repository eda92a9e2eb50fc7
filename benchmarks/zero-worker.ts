/**
 * Claim: with workers that answer at once, a task of any graph of the Dask overhead studies costs
 * less than in Dask's scheduler, and about what it costs in rsds, or less.
 *
 * A client (this process), a `farm-scheduler` and a process of mock workers of one slot each talk
 * over real connections; the mock workers run nothing and move no data. The time goes from the
 * first submit to the last result. Beside it the processor time of the scheduler alone, and what is
 * published for Dask 2.8 and rsds: zero workers too, on 24-core nodes with the workers on nodes of
 * their own.
 *
 * `npm run node -- benchmarks/zero-worker.ts [--quick] [--workers 24,168] [--rounds N] [GRAPH...]`
 * (Linux: reads processor time from /proc)
 */
import { execFileSync, fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { Client, wait } from '@farm/client';
import type { Future } from '@farm/client';
import { LocalCluster } from '@farm/cluster';

import { buildGraphs, CATALOG } from './graphs/catalog.ts';
import { sinksOf } from './graphs/graph.ts';
import type { TaskGraph } from './graphs/graph.ts';
import { machineLine, median } from './machine.ts';

const QUICK = ['merge-10K', 'xarray-25', 'join-1-1S-1H', 'bag-50K-50', 'xarray-5', 'tree-15'];
const FULL = [
  'merge-10K',
  'merge-30K',
  'tree-15',
  'join-1-1S-1H',
  'join-1-1S-1T',
  'groupby-360-1S-1H',
  'groupby-1440-1S-8H',
  'numpy-50K-100',
  'xarray-25',
  'bag-50K-50',
  'bag-25K-100',
  'xarray-5',
];
/** Nothing here takes that long. */
const DEADLINE_MS = 300_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    workers: { type: 'string', default: '24' },
    rounds: { type: 'string', default: '5' },
  },
});
const rounds = Number(values.rounds);
const names = positionals.length > 0 ? positionals : values.quick ? QUICK : FULL;
const graphs = buildGraphs(names);
const ticksPerS = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

console.log(`${machineLine()}, load ${loadavg()[0]?.toFixed(1)}`);
for (const workers of values.workers.split(',').map(Number)) await measure(workers);
console.log(`load at the end ${loadavg()[0]?.toFixed(1)}`);

interface Figures {
  readonly wallMs: number;
  readonly schedulerMs: number;
}

async function measure(workers: number): Promise<void> {
  await using cluster = await LocalCluster.start({ workers: 0, dashboardAddress: null });
  const file = JSON.parse(readFileSync(cluster.schedulerFile, 'utf8')) as { farm: { pid: number } };
  const program = fileURLToPath(new URL('zero-worker/zero-workers.ts', import.meta.url));
  const zero = fork(program, [cluster.schedulerFile, String(workers)]);
  try {
    await using client = new Client(cluster);
    await client.waitForWorkers(workers, { timeoutMs: 60_000 });
    const [warmUp] = buildGraphs(['merge-10K']);
    if (warmUp !== undefined) await round(client, warmUp, zero, file.farm.pid);
    console.log(`\n${workers} workers, ms a task, medians of ${rounds}`);
    const columns = ['tasks', 'wall', 'scheduler', 'Dask', 'rsds', 'Dask/wall', 'rsds/wall'];
    console.log(''.padEnd(20) + columns.map((column) => column.padStart(11)).join(''));
    for (const graph of graphs) {
      const figures: Figures[] = [];
      for (let number = 0; number < rounds; number++) {
        figures.push(await round(client, graph, zero, file.farm.pid));
      }
      row(graph, workers, figures);
    }
  } finally {
    zero.disconnect();
  }
}

function row(graph: TaskGraph, workers: number, figures: readonly Figures[]): void {
  const tasks = graph.dependencies.length;
  const wall = median(figures.map(({ wallMs }) => wallMs)) / tasks;
  const scheduler = median(figures.map(({ schedulerMs }) => schedulerMs)) / tasks;
  // Published are those two numbers of workers.
  const column = [24, 168].indexOf(workers);
  const overhead = column === -1 ? null : CATALOG.get(graph.name)?.overhead;
  const dask = overhead?.dask.at(column);
  const rsds = overhead?.rsds.at(column);
  const times = (other: number | undefined): string =>
    other === undefined ? '-' : `${(other / wall).toFixed(1)}x`;
  const cells = [
    String(tasks),
    wall.toFixed(4),
    scheduler.toFixed(4),
    dask?.toFixed(2) ?? '-',
    rsds?.toFixed(2) ?? '-',
    times(dask),
    times(rsds),
  ];
  console.log(graph.name.padEnd(20) + cells.map((cell) => cell.padStart(11)).join(''));
}

async function round(
  client: Client,
  graph: TaskGraph,
  zero: ChildProcess,
  schedulerPid: number,
): Promise<Figures> {
  zero.send(String(graph.resultBytes));
  await once(zero, 'message');
  const sinks = new Set(sinksOf(graph));
  const usedMs = processorMs(schedulerPid);
  const startMs = performance.now();
  const futures = submit(client, graph);
  const wanted = futures.filter((_, index) => sinks.has(index));
  for (const [index, future] of futures.entries()) if (!sinks.has(index)) future.release();
  const { notDone } = await wait(wanted, { timeoutMs: DEADLINE_MS });
  const wallMs = performance.now() - startMs;
  const schedulerMs = processorMs(schedulerPid) - usedMs;
  const failed = wanted.find(({ status }) => status !== 'finished');
  if (notDone.length > 0 || failed !== undefined) {
    throw new Error(`${graph.name}: ${failed?.key} is ${failed?.status}`);
  }
  for (const future of wanted) future.release();
  // What is given up is forgotten before the next round begins: answers come in order.
  await client.schedulerInfo();
  return { wallMs, schedulerMs };
}

/** Submits stage by stage, each as one map: as a program that builds such a graph would. */
function submit(client: Client, graph: TaskGraph): Future<unknown>[] {
  const futures: Future<unknown>[] = [];
  for (const { name, first, count } of graph.stages) {
    const inputs: unknown[] = [];
    for (let index = first; index < first + count; index++) {
      inputs.push((graph.dependencies[index] ?? []).map((needed) => futures[needed]));
    }
    futures.push(...client.map(functionNamed(name), inputs));
  }
  return futures;
}

/** Never called: the workers run nothing. */
function functionNamed(name: string): (inputs: unknown) => unknown {
  const fn = (inputs: unknown): unknown => inputs;
  Object.defineProperty(fn, 'name', { value: name });
  return fn;
}

/** What a process has used of the processor so far, milliseconds. */
function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerS;
}
