import { join } from 'node:path';

import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Makes `@farm/*` imports resolve to the sources, so that tests need no build. */
const SOURCE = '@farm/source';

/** Files of whole clusters first: some wait for a minute, which others fill as long as there are any. */
class ClustersFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line no-array-sort -- not that of an array
    const sorted = await super.sort(files);
    const isOfCluster = ({ moduleId }: TestSpecification): boolean =>
      moduleId.includes('/packages/cluster/');
    return [...sorted.filter(isOfCluster), ...sorted.filter((file) => !isOfCluster(file))];
  }
}

// Most of what the tests cost is processes that start: each strips the types of the same sources
// and compiles them. Node keeps what comes of that here, for the next.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/node');

export default defineConfig({
  resolve: { conditions: [SOURCE] },
  ssr: { resolve: { conditions: [SOURCE] } },
  test: {
    include: [
      'packages/*/test/**/*.test.ts',
      'sim/**/*.test.ts',
      'tooling/**/*.test.ts',
      'examples/**/*.test.ts',
      'benchmarks/**/*.test.ts',
    ],
    // Node loads the files itself: vite's own runner renames imports inside functions, and then a
    // function that a test sends to a worker by its source would name things that are not there.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    execArgv: [`--conditions=${SOURCE}`],
    // Tests start schedulers and workers: a process a file keeps what one test leaves behind, a
    // global or a handle, away from the next.
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: ClustersFirst },
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
  },
});
