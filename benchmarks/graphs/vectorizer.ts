import { GraphBuilder } from './graph.ts';
import type { TaskGraph } from './graph.ts';

/** Texts made into vectors, each part alone, and one task besides. */
export function vectorizer(): TaskGraph {
  const builder = new GraphBuilder();
  builder.stage('vectorize', 300);
  builder.stage('count', 1);
  return builder.build('vectorizer-1M-300', 10_226, 1504);
}
