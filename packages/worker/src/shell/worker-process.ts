/** Entry of a worker process that a nanny starts. Its one argument is its options as JSON. */
import { keepHugePagesToSelf } from '@farm/protocol/huge-pages';

import { PREVIOUS_DEATH, type WorkerProcessOptions } from './nanny/nanny.ts';
import { runWorker } from './run-worker.ts';

const [, , json = '{}'] = process.argv;
process.title = 'farm-worker';
// SAFE: the nanny of this very package wrote it.
const options = JSON.parse(json) as WorkerProcessOptions;
const death: unknown = JSON.parse(process.env[PREVIOUS_DEATH] ?? 'null');
// Nothing that tasks start is to see it, or what this process was started under.
keepHugePagesToSelf();
delete process.env[PREVIOUS_DEATH];
// SAFE: as above; the scheduler checks it once more.
const previousDeath = death as WorkerProcessOptions['previousDeath'];
process.exit(await runWorker({ ...options, previousDeath: previousDeath ?? null }));
