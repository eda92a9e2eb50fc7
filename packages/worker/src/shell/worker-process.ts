/** Entry of a worker process that a nanny starts. Its one argument is its options as JSON. */
import type { WorkerProcessOptions } from './nanny/nanny.ts';
import { runWorker } from './run-worker.ts';

const [, , json = '{}'] = process.argv;
process.title = 'farm-worker';
// SAFE: the nanny of this very package wrote it.
const options = JSON.parse(json) as WorkerProcessOptions;
process.exit(await runWorker(options));
