import type { Random } from '../prng.ts';
import type { ClientOp } from '../scenario.ts';
import type { DrawnOp } from './drawn-op.ts';
import { FutureUses } from './future-uses.ts';
import { GraphMaker } from './graph-maker.ts';
import { drawLeases, drawQueues, drawRetirements } from './shared-work.ts';
import { Submissions } from './submissions.ts';
import { TaskMaker } from './task-maker.ts';
import type { WorkloadOptions } from './workload-options.ts';

/** Draws everything clients do, in order of time: graphs, and what else they do with them. */
export function makeWorkload(random: Random, options: WorkloadOptions): readonly ClientOp[] {
  const tasks = new TaskMaker(random, options);
  const submissions = new Submissions(random, options, tasks);
  const graphs = new GraphMaker(random, options, { tasks, submissions });
  while (submissions.count < options.tasks) {
    graphs.draw(random.between(0, options.untilMs), options.tasks - submissions.count);
  }
  new FutureUses(random, options, submissions).draw();
  return [...submissions.ops, ...drawSharedWork(random, options)]
    .toSorted((a, b) => a.atMs - b.atMs)
    .map(({ atMs, client, action }, index) => ({ id: `o${index}`, atMs, client, action }));
}

/** What clients share besides tasks. */
function drawSharedWork(random: Random, options: WorkloadOptions): DrawnOp[] {
  const { features } = options;
  return [
    ...(features.has('leases') ? drawLeases(random, options) : []),
    ...(features.has('queues') ? drawQueues(random, options) : []),
    ...(features.has('retire') ? drawRetirements(random, options) : []),
  ];
}
