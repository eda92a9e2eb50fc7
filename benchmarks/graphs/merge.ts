import { GraphBuilder } from './graph.ts';
import type { TaskGraph } from './graph.ts';

/** `count` trivial tasks and one that takes all their results. */
export function merge(count: number): TaskGraph {
  return build(count).build(`merge-${count / 1000}K`, 0.027, 0.006);
}

/** The same with tasks that take `seconds`. */
export function mergeSlow(count: number, seconds: number): TaskGraph {
  return build(count).build(`merge_slow-${count / 1000}K-${seconds}`, 0.023, seconds * 1000);
}

function build(count: number): GraphBuilder {
  const builder = new GraphBuilder();
  const sources = builder.stage('source', count);
  builder.stage('merge', 1, () => sources);
  return builder;
}
