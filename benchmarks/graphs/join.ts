import { GraphBuilder } from './graph.ts';
import type { TaskGraph } from './graph.ts';

/** Digits of a partition's number in a shuffle of several steps. */
const RADIX = 12;
const STEPS = 3;

/** A join of a day with itself in hours: every partition is split for every other. */
export function joinByHour(
  name: string,
  published: { readonly resultKiB: number; readonly durationMs: number },
): TaskGraph {
  const count = 24;
  const builder = new GraphBuilder();
  const sources = builder.stage('source', count);
  const outputs = shuffle(builder, sources, { radix: count, weight: 1, kept: count });
  finish(builder, outputs);
  return builder.build(name, published.resultKiB, published.durationMs);
}

/** The same in minutes: 1440 partitions are shuffled in three steps of twelve. */
export function joinByMinute(): TaskGraph {
  const builder = new GraphBuilder();
  const slots = RADIX ** STEPS;
  let partitions = builder.stage('source', slots);
  for (let step = 0; step < STEPS; step++) {
    const kept = step === STEPS - 1 ? 1440 : slots;
    partitions = shuffle(builder, partitions, { radix: RADIX, weight: RADIX ** step, kept });
  }
  finish(builder, partitions);
  return builder.build('join-1-1S-1T', 3.7, 1.7);
}

/** One step: outputs take a part of each input whose number differs in one digit only. */
function shuffle(
  builder: GraphBuilder,
  inputs: readonly number[],
  step: { readonly radix: number; readonly weight: number; readonly kept: number },
): number[] {
  const { radix, weight, kept } = step;
  const groups = builder.stage('group', inputs.length, (i) => inputs.slice(i, i + 1));
  const inputOf = (index: number): number => {
    const output = Math.floor(index / radix);
    const digit = Math.floor(output / weight) % radix;
    return output + ((index % radix) - digit) * weight;
  };
  const parts = builder.stage('getitem', kept * radix, (index) => {
    const at = inputOf(index);
    return groups.slice(at, at + 1);
  });
  return builder.stage('concat', kept, (i) => parts.slice(i * radix, (i + 1) * radix));
}

function finish(builder: GraphBuilder, partitions: readonly number[]): void {
  const merged = builder.stage('merge', partitions.length, (i) => partitions.slice(i, i + 1));
  builder.stage('sum', 1, () => merged);
}
