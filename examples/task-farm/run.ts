/**
 * The task farm: `npm start`, or against a running cluster
 * `npm start -- --scheduler-file scheduler.json`.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { Client } from '@farm/client';

import { readParams, runFarm } from './farm.ts';
import type { FarmReport } from './farm.ts';
import { ProgressBar } from './progress-bar.ts';

const USAGE = `usage: npm start -- [--tasks N] [--params FILE] [--experiment DIR] [--scheduler-file FILE]

  --tasks N              run N tasks, repeating the parameters as needed; default: one a parameter
  --params FILE          one parameter a line; default: params.txt of the example
  --experiment DIR       where to work; default: a new directory under the system's temporary one
  --scheduler-file FILE  use this cluster; default: a local one, for this run
`;

async function main(): Promise<void> {
  const flags = readFlags();
  const params = await readParams(flags.params);
  const tasks = flags.tasks ?? params.length;
  const wanted = Array.from(
    { length: params.length === 0 ? 0 : tasks },
    (_, index) => params[index % params.length] ?? '',
  );
  const experiment = flags.experiment ?? (await mkdtemp(join(tmpdir(), 'farm-experiment-')));

  await using client =
    flags.schedulerFile === undefined
      ? new Client()
      : new Client({ schedulerFile: flags.schedulerFile });
  let isInterrupted = false;
  process.once('SIGINT', () => {
    isInterrupted = true;
    console.error(
      `\ninterrupted: ${flags.schedulerFile === undefined ? 'closing' : 'leaving'} the cluster; ` +
        `what is there stays in ${experiment}`,
    );
    void client.close().finally(() => process.exit(130));
  });
  await client.ready(); // workers may come later: tasks wait for the first one
  console.log(String(client));
  const bar = new ProgressBar(wanted.length);
  const report = await runFarm({
    client,
    params: wanted,
    experiment,
    onProgress: (done, failed) => {
      if (!isInterrupted) bar.update(done, failed);
    },
  });
  if (!isInterrupted) print(report, experiment);
}

function print(report: FarmReport, experiment: string): void {
  const { succeeded, failures, workers, wallMs } = report;
  const seconds = (wallMs / 1000).toFixed(2);
  const rate = Math.round(((succeeded + failures.length) / wallMs) * 1000);
  console.log(
    `${succeeded} tasks succeeded, ${failures.length} failed, in ${seconds} s (${rate} tasks/s)`,
  );
  for (const [name, { tasks, busyMs }] of [...workers].toSorted(([a], [b]) => a.localeCompare(b))) {
    console.log(`  on ${name}: ${tasks} tasks, ${(busyMs / tasks).toFixed(1)} ms each`);
  }
  for (const { task, reason, directory } of failures.slice(0, 10)) {
    console.log(`  task ${task} failed (${reason}); its directory is kept: ${directory}`);
  }
  if (failures.length > 10) console.log(`  … and ${failures.length - 10} more`);
  console.log(`results: ${join(experiment, 'results')}`);
}

function readFlags(): {
  readonly tasks: number | undefined;
  readonly params: string;
  readonly experiment: string | undefined;
  readonly schedulerFile: string | undefined;
} {
  try {
    const { values } = parseArgs({
      options: {
        tasks: { type: 'string' },
        params: { type: 'string' },
        experiment: { type: 'string' },
        'scheduler-file': { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) {
      console.log(USAGE);
      process.exit(0);
    }
    const tasks = values.tasks === undefined ? undefined : Number(values.tasks);
    if (tasks !== undefined && (!Number.isSafeInteger(tasks) || tasks < 0)) {
      throw new Error(`--tasks must be a whole number, not ${values.tasks}`);
    }
    return {
      tasks,
      params: values.params ?? fileURLToPath(new URL('params.txt', import.meta.url)),
      experiment: values.experiment,
      schedulerFile: values['scheduler-file'],
    };
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    console.error(USAGE);
    process.exit(2);
  }
}

await main();
