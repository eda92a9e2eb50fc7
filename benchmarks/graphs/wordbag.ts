import { GraphBuilder } from './graph.ts';
import type { TaskGraph } from './graph.ts';

/**
 * Words of texts, counted two ways. How the published graph is wired is not known: this one has as
 * many tasks, dependencies and levels.
 */
export function wordbag(): TaskGraph {
  const builder = new GraphBuilder();
  const count = 50;
  const behind = (name: string, tasks: readonly number[]): number[] =>
    builder.stage(name, count, (i) => tasks.slice(i, i + 1));
  const texts = builder.stage('read', count);
  const words = behind('words', texts);
  const lines = behind('lines', texts);
  behind('count-words', words);
  behind('count-lines', lines);
  return builder.build('wordbag-100K-50', 5136, 301);
}
