import { expect, test } from 'vitest';

import { CATALOG } from './catalog.ts';
import { edgesOf, longestPathOf } from './graph.ts';

/** Where what is published is not known well enough to rebuild it exactly. */
function allowance(name: string): { readonly size: number; readonly path: number } {
  if (name.startsWith('bag') || name === 'xarray-25') return { size: 1, path: 0 };
  if (name.startsWith('numpy')) return { size: 1, path: 1 };
  return { size: 0, path: 0 };
}

for (const [name, published] of CATALOG) {
  test(`${name} has as many tasks, dependencies and levels as published`, () => {
    const graph = published.build();
    const { size, path } = allowance(name);
    expect(graph.name).toBe(name);
    expect(Math.abs(graph.dependencies.length - published.tasks)).toBeLessThanOrEqual(size);
    expect(Math.abs(edgesOf(graph) - published.edges)).toBeLessThanOrEqual(size);
    expect(Math.abs(longestPathOf(graph) - published.longestPath)).toBeLessThanOrEqual(path);
  });

  test(`${name} names only earlier tasks as dependencies, and none of the same stage`, () => {
    const { stages, dependencies } = published.build();
    const starts = stages.flatMap(({ first, count }) => new Array<number>(count).fill(first));
    const isWrong = dependencies.some((needed, index) =>
      needed.some((other) => !(other >= 0 && other < (starts[index] ?? 0))),
    );
    expect(starts.length).toBe(dependencies.length);
    expect(isWrong).toBe(false);
  });
}
