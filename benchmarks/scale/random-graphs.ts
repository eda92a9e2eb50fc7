/** Random graphs of about a hundred tasks, as the messages by which a client submits them. */
import { packU32, release, submit, taskOptions } from '@farm/protocol/core';
import type { ClientMessage, Submit } from '@farm/protocol/core';

import { Random } from '../../sim/prng.ts';

/** A function of the graphs: how long its tasks take, and what they make. */
export interface Work {
  readonly name: string;
  /** Tasks take from half to one and a half times as long. */
  readonly meanMs: number;
  /** Bytes of a result. Up to 4 KiB it travels in messages, else it stays on the worker. */
  readonly size: number;
}

/** Tasks from 1 ms to 10 s, every order of magnitude as frequent; a third with large results. */
export const WORKS: readonly Work[] = [2, 6, 20, 60, 200, 600, 2_000, 6_600].map(
  (meanMs, index) => ({
    name: `work-${meanMs}`,
    meanMs,
    size: index % 3 === 1 ? 65_536 : 100,
  }),
);

/** One graph on its way to the scheduler. */
export interface Graph {
  readonly messages: readonly ClientMessage[];
  /** Client's ids that stay wanted; those of all other tasks are released at once. */
  readonly outputs: readonly number[];
}

const ARG_BYTES = 40;
const MAP_TASKS = 100;
const TREE_LEAVES = 64;
const TREE_FAN_IN = 4;
const DAG_LAYERS = 10;
const FAN_IN_MAX = 4;
const OPTIONS = taskOptions({});

/**
 * Graphs without end: maps, tree reductions of maps, and layered random graphs with up to four
 * inputs a task out of the two layers above, of tasks submitted one by one or as maps over futures.
 */
export class RandomGraphs {
  readonly #random: Random;
  #nextId = 0;
  #graphs = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  /** Tasks made so far; the client's ids are the numbers below. */
  get tasks(): number {
    return this.#nextId;
  }

  /** The next graph, of `tasksMax` tasks at most. */
  next(tasksMax: number): Graph {
    const first = this.#nextId;
    const messages: ClientMessage[] = [];
    const kind = this.#graphs % 4;
    this.#graphs += 1;
    let outputs: number[];
    if (tasksMax < 2 * MAP_TASKS) outputs = this.#map(messages, tasksMax);
    else if (kind === 0) outputs = this.#map(messages, MAP_TASKS);
    else if (kind === 1) outputs = this.#tree(messages);
    else outputs = this.#layers(messages, kind === 2);
    const ranges: number[] = [];
    let from = first;
    for (const output of [...outputs, this.#nextId]) {
      if (output > from) ranges.push(from, output - from);
      from = output + 1;
    }
    if (ranges.length > 0) messages.push(release(ranges));
    return { messages, outputs };
  }

  /** One map for each function: everybody learns what there is, and how long it takes. */
  eachFunction(count: number): Graph {
    const messages: ClientMessage[] = [];
    const outputs: number[] = [];
    for (const { name } of WORKS) {
      const inputs = Array.from({ length: count }, () => []);
      outputs.push(...this.#block(messages, name, inputs));
    }
    return { messages, outputs };
  }

  #map(messages: ClientMessage[], count: number): number[] {
    return this.#block(
      messages,
      this.#work(),
      Array.from({ length: count }, () => []),
    );
  }

  #tree(messages: ClientMessage[]): number[] {
    let level = this.#map(messages, TREE_LEAVES);
    while (level.length > 1) {
      const inputs: number[][] = [];
      for (let at = 0; at < level.length; at += TREE_FAN_IN) {
        inputs.push(level.slice(at, at + TREE_FAN_IN));
      }
      level = this.#block(messages, this.#work(), inputs);
    }
    return level;
  }

  #layers(messages: ClientMessage[], isOneByOne: boolean): number[] {
    const random = this.#random;
    const unused = new Set<number>();
    let above: number[] = [];
    let last: number[] = [];
    for (let layer = 0; layer < DAG_LAYERS; layer++) {
      const pool = [...above, ...last];
      const inputs = Array.from({ length: 5 + random.below(11) }, () => {
        const fanIn = pool.length === 0 ? 0 : random.below(FAN_IN_MAX + 1);
        return Array.from({ length: fanIn }, () => random.pick(pool));
      });
      above = last;
      last = isOneByOne
        ? inputs.flatMap((own) => this.#block(messages, this.#work(), [own]))
        : this.#block(messages, this.#work(), inputs);
      for (const id of last) unused.add(id);
      for (const id of inputs.flat()) unused.delete(id);
    }
    return [...unused];
  }

  #work(): string {
    return this.#random.pick(WORKS).name;
  }

  #block(messages: ClientMessage[], fn: string, inputs: readonly (readonly number[])[]): number[] {
    const count = inputs.length;
    const first = this.#nextId;
    this.#nextId += count;
    const dependencies = inputs.flat();
    let end = 0;
    const ends = inputs.map((own) => (end += own.length));
    const message: Submit = submit({
      first,
      count,
      // As clients make them up: the name, and what nobody else has.
      key: `${fn}-k${first.toString(36)}`,
      indexFrom: count === 1 ? null : 0,
      fn,
      args: new Uint8Array(count * ARG_BYTES),
      argEndsColumn: packU32(inputs.map((_, index) => (index + 1) * ARG_BYTES)),
      depsColumn: dependencies.length === 0 ? null : packU32(dependencies),
      depEndsColumn: dependencies.length === 0 ? null : packU32(ends),
      options: OPTIONS,
    });
    messages.push(message);
    return inputs.map((_, index) => first + index);
  }
}
