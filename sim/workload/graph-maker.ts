import type { Random } from '../prng.ts';
import { drawComb, drawFlips, drawLateCopies } from './given-up-graphs.ts';
import type { Node, Submissions } from './submissions.ts';
import type { TaskMaker } from './task-maker.ts';
import type { WorkloadOptions } from './workload-options.ts';

const SHAPES = [
  'map',
  'chain',
  'tree',
  'diamond',
  'fan',
  'layers',
  'random',
  'comb',
  'late-copies',
  'flips',
  'scatter',
  'single',
] as const;

/** Draws graphs of some well-known shapes. */
export class GraphMaker {
  readonly #random: Random;
  readonly #options: WorkloadOptions;
  readonly #tasks: TaskMaker;
  readonly #submissions: Submissions;

  constructor(
    random: Random,
    options: WorkloadOptions,
    to: { readonly tasks: TaskMaker; readonly submissions: Submissions },
  ) {
    this.#random = random;
    this.#options = options;
    this.#tasks = to.tasks;
    this.#submissions = to.submissions;
  }

  /** Draws one, of at most so many tasks. */
  draw(startMs: number, tasksMax: number): void {
    const random = this.#random;
    const client = random.below(this.#options.clients);
    const shape = random.pick(SHAPES);
    const count = Math.min(tasksMax, Math.ceil(random.spread(1, 60)));
    const fn = `f${random.below(4)}`;
    const options = this.#tasks.taskOptions();
    let atMs = startMs;
    const stretchMs = random.chance(0.5) ? 0 : random.spread(0.1, 300);
    const submit = (nodes: readonly Node[], asBlock: boolean): number[] => {
      atMs += stretchMs;
      return this.#submissions.submit(client, atMs, nodes, { fn, options, asBlock });
    };
    const roots = (): number[] => this.#submissions.roots(client, atMs);
    switch (shape) {
      case 'map': {
        const inputs = roots();
        submit(
          Array.from({ length: count }, () => ({ deps: random.some(inputs, 0.5) })),
          true,
        );
        break;
      }
      case 'chain': {
        let last = roots().slice(0, 1);
        for (let i = 0; i < count; i++) last = submit([{ deps: last }], false);
        break;
      }
      case 'tree': {
        const fanIn = 2 + random.below(3);
        let level = submit(
          Array.from({ length: Math.ceil(count / 2) }, () => ({ deps: [] })),
          true,
        );
        while (level.length > 1) {
          const groups: Node[] = [];
          for (let i = 0; i < level.length; i += fanIn)
            groups.push({ deps: level.slice(i, i + fanIn) });
          level = submit(groups, random.chance(0.5));
        }
        break;
      }
      case 'diamond': {
        const top = submit([{ deps: roots().slice(0, 2) }], false);
        const middle = submit(
          Array.from({ length: count }, () => ({ deps: top })),
          true,
        );
        submit([{ deps: middle.slice(0, 40) }], false);
        break;
      }
      case 'fan': {
        const leaves = submit(
          Array.from({ length: count }, () => ({ deps: [] })),
          true,
        );
        submit([{ deps: leaves }], false);
        break;
      }
      case 'layers': {
        let layer = submit(
          Array.from({ length: Math.ceil(count / 3) }, () => ({ deps: [] })),
          true,
        );
        for (let i = 0; i < 2; i++) {
          const above = layer;
          layer = submit(
            above.map(() => ({ deps: random.some(above, 0.3) })),
            random.chance(0.7),
          );
        }
        break;
      }
      case 'random':
        for (let i = 0; i < count; i++) {
          const inputs = roots();
          // The same input several times is one dependency.
          submit([{ deps: random.chance(0.1) ? [...inputs, ...inputs] : inputs }], false);
        }
        break;
      case 'comb':
        drawComb(random, this.#submissions, {
          client,
          atMs,
          count: Math.min(count, 30),
          fn,
          options,
        });
        break;
      case 'late-copies':
        drawLateCopies(random, this.#submissions, {
          client,
          atMs,
          count: Math.min(count, 20),
          fn,
          options,
        });
        break;
      case 'flips':
        drawFlips(random, this.#submissions, { client, atMs, count: Math.min(count, 6), options });
        break;
      case 'scatter': {
        const values = this.#options.features.has('scatter')
          ? this.#submissions.scatter(client, atMs, Math.min(count, 8))
          : [];
        submit(
          Array.from({ length: Math.min(count, 20) }, () => ({ deps: random.some(values, 0.4) })),
          random.chance(0.5),
        );
        break;
      }
      case 'single':
        submit([{ deps: [] }], random.chance(0.3));
        break;
    }
  }
}
