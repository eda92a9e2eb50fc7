import { GraphBuilder } from './graph.ts';
import type { TaskGraph } from './graph.ts';

/** A binary reduction of 2^(levels − 1) leaves. */
export function tree(levels: number): TaskGraph {
  const builder = new GraphBuilder();
  builder.tree('add', builder.stage('leaf', 2 ** (levels - 1)), 2);
  return builder.build(`tree-${levels}`, 0.027, 0.007);
}
