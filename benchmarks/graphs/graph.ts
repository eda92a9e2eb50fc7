/** Task graphs as data, and how they are put together. */

/** Consecutive tasks of one function, none of which needs another of them. */
export interface Stage {
  /** Name of the function. */
  readonly name: string;
  /** Index of its first task. */
  readonly first: number;
  readonly count: number;
}

/** A graph whose tasks are numbered from 0, each after what it depends on. */
export interface TaskGraph {
  readonly name: string;
  readonly stages: readonly Stage[];
  /** For each task the indices of what it depends on, each once. */
  readonly dependencies: readonly (readonly number[])[];
  /** Bytes of every result: the mean over the graph's tasks as published. */
  readonly resultBytes: number;
  /** Milliseconds that every task takes: the published mean. */
  readonly durationMs: number;
}

/** Collects stages. */
export class GraphBuilder {
  readonly #stages: Stage[] = [];
  readonly #dependencies: (readonly number[])[] = [];

  /** Adds tasks of one function and returns their indices. */
  stage(
    name: string,
    count: number,
    dependenciesOf: (index: number) => readonly number[] = () => [],
  ): number[] {
    const first = this.#dependencies.length;
    for (let index = 0; index < count; index++) {
      this.#dependencies.push([...new Set(dependenciesOf(index))]);
    }
    this.#stages.push({ name, first, count });
    return Array.from({ length: count }, (_, index) => first + index);
  }

  /**
   * Reduces tasks to one: while there are more than `width`, each `width` of them are combined; then
   * one root takes the rest. Returns the root.
   */
  tree(name: string, inputs: readonly number[], width: number): number {
    return this.trees(name, [inputs], width)[0] ?? -1;
  }

  /** Several trees of equal size, their levels together. Returns their roots. */
  trees(name: string, inputs: readonly (readonly number[])[], width: number): number[] {
    let levels = inputs;
    for (;;) {
      const size = levels[0]?.length ?? 0;
      const combined = size > width ? Math.ceil(size / width) : 1;
      const made = this.stage(name, levels.length * combined, (index) => {
        const from = levels[Math.floor(index / combined)] ?? [];
        const at = index % combined;
        return combined === 1 ? from : from.slice(at * width, (at + 1) * width);
      });
      if (combined === 1) return made;
      levels = levels.map((_, tree) => made.slice(tree * combined, (tree + 1) * combined));
    }
  }

  /** The graph, with the published means of its results' KiB and of its durations. */
  build(name: string, resultKiB: number, durationMs: number): TaskGraph {
    return {
      name,
      stages: this.#stages,
      dependencies: this.#dependencies,
      resultBytes: Math.max(1, Math.round(resultKiB * 1024)),
      durationMs,
    };
  }
}

/** Number of dependencies in a graph. */
export function edgesOf({ dependencies }: TaskGraph): number {
  return dependencies.reduce((sum, { length }) => sum + length, 0);
}

/** Dependencies on the longest path. */
export function longestPathOf({ dependencies }: TaskGraph): number {
  const depths: number[] = [];
  let longest = 0;
  for (const needed of dependencies) {
    let depth = 0;
    for (const index of needed) depth = Math.max(depth, (depths[index] ?? 0) + 1);
    depths.push(depth);
    longest = Math.max(longest, depth);
  }
  return longest;
}

/** Tasks that no other depends on: what a user asks for. */
export function sinksOf({ dependencies }: TaskGraph): number[] {
  const isNeeded = new Uint8Array(dependencies.length);
  for (const needed of dependencies) for (const index of needed) isNeeded[index] = 1;
  return dependencies.flatMap((_, index) => (isNeeded[index] === 0 ? [index] : []));
}
