/** Graphs of tasks that are given up while they run, or their results are on their way. */
import { taskOptions } from '@farm/protocol/core';
import type { TaskOptions } from '@farm/protocol/core';

import type { Random } from '../prng.ts';
import type { Behaviour } from '../scenario.ts';
import type { Submissions } from './submissions.ts';

/** Who submits one of these, when, and of how many tasks. */
export interface GivenUpGraph {
  readonly client: number;
  readonly atMs: number;
  readonly count: number;
  readonly fn: string;
  readonly options: TaskOptions;
}

/**
 * Large values and tasks that need two of them each, so that some have to be fetched; pairs are
 * given up at all times of that.
 */
export function drawComb(
  random: Random,
  submissions: Submissions,
  { client, atMs, count, fn, options }: GivenUpGraph,
): void {
  const leaves = Array.from({ length: count + 1 }, () => ({ deps: [] }));
  const sizeBytes = random.pick([5_000, 40_000]);
  const large = submissions.submit(client, atMs, leaves, { fn, options, asBlock: true, sizeBytes });
  const pairs = large.slice(1).map((ref, index) => ({ deps: [ref, large[index] ?? ref] }));
  const users = submissions.submit(client, atMs, pairs, { fn, options, asBlock: true });
  const windowMs = random.spread(1, 500);
  for (const [index, user] of users.entries()) {
    const inputs = large.slice(index, index + 2);
    const refs = random.chance(0.7) ? [user, ...inputs] : [user];
    const kind = random.chance(0.7) ? 'release' : 'cancel';
    submissions.add(atMs + windowMs * random.between(0, 1), client, { kind, refs });
  }
}

/**
 * Large results that others fetch and that are given up meanwhile, and perhaps wanted again at
 * once: copies arrive of what is released, or is being made anew. A task that is kept, and needed
 * the result, keeps it known.
 */
export function drawLateCopies(
  random: Random,
  submissions: Submissions,
  { client, atMs, count, fn, options }: GivenUpGraph,
): void {
  const sizeBytes = random.pick([9_000, 60_000, 300_000]);
  const made = { fn, options, asBlock: true };
  const leaves = Array.from({ length: count }, () => ({ deps: [] }));
  const large = submissions.submit(client, atMs, leaves, { ...made, sizeBytes });
  submissions.submit(
    client,
    atMs,
    large.map((ref) => ({ deps: [ref] })),
    { ...made, options: taskOptions({ priority: 1 }) },
  );
  const pairs = large.map((ref, index) => ({ deps: [ref, large[(index + 1) % count] ?? ref] }));
  const users = submissions.submit(client, atMs, pairs, made);
  const windowMs = random.spread(5, 2_000);
  for (const [index, user] of users.entries()) {
    const input = large[index] ?? user;
    let whenMs = atMs + windowMs * random.between(0, 1);
    for (let times = 1 + random.below(3); times > 0; times--) {
      const others = users.filter((_, at) => at === index || (at + 1) % count === index);
      const kind = random.chance(0.7) ? 'release' : 'cancel';
      submissions.add(whenMs, client, { kind, refs: [...others, input] });
      if (random.chance(0.3)) break;
      whenMs += random.spread(0.1, 30);
      submissions.add(whenMs, client, { kind: 'share', refs: [input] });
      whenMs += random.spread(0.1, 100);
    }
  }
}

/**
 * Tasks that are given up and wanted again while they run, so that several runs of one are under
 * way. What is made of them is kept: it keeps them known, under the same number.
 */
export function drawFlips(
  random: Random,
  submissions: Submissions,
  { client, atMs, count, options }: Omit<GivenUpGraph, 'fn'>,
): void {
  const fn = random.pick(['f2', 'f3']);
  const sizeBytes = random.pick([16, 9_000]);
  const leaves = Array.from({ length: count }, () => ({ deps: [] }));
  const behaviour: Behaviour = { kind: random.chance(0.4) ? 'flaky' : 'returns' };
  const made = { fn, options, asBlock: true, sizeBytes, behaviour };
  const tasks = submissions.submit(client, atMs, leaves, made);
  const kept = tasks.map((ref) => ({ deps: [ref] }));
  submissions.submit(client, atMs, kept, { fn: 'f0', options: taskOptions({}), asBlock: true });
  const usualMs = random.spread(2, 80);
  for (const ref of tasks) {
    let whenMs = atMs + random.between(0, 200);
    for (let times = 2 + random.below(6); times > 0; times--) {
      const kind = random.chance(0.7) ? 'release' : 'cancel';
      submissions.add(whenMs, client, { kind, refs: [ref] });
      whenMs += random.spread(0.05, 5);
      submissions.add(whenMs, client, { kind: 'share', refs: [ref] });
      whenMs += usualMs * random.between(0.2, 2);
    }
  }
}
