import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { CommandError, arg, asCompleted, command, text } from '@farm/client';
import type { Client } from '@farm/client';

const HERE = fileURLToPath(new URL('.', import.meta.url));

/** How a farm went. */
export interface FarmReport {
  /** Tasks whose result is in `results/`. */
  readonly succeeded: number;
  /** What went wrong, and the directory that was kept to look into it. */
  readonly failures: readonly {
    readonly task: number;
    readonly directory: string;
    readonly reason: string;
  }[];
  /** Tasks and compute time of each worker, by name. */
  readonly workers: ReadonlyMap<string, { readonly tasks: number; readonly busyMs: number }>;
  /** From the first submit to the last result. */
  readonly wallMs: number;
}

/** Options of {@link runFarm}. */
export interface FarmOptions {
  readonly client: Client;
  /** One parameter a line. */
  readonly params: readonly string[];
  /** Directory of the farm: one directory a task while it runs, `results/` in the end. */
  readonly experiment: string;
  /** Called after each task. */
  readonly onProgress?: (done: number, failed: number) => void;
}

/** Reads a parameter file: one task a line, whatever the line ends are, empty lines left out. */
export async function readParams(path: string): Promise<readonly string[]> {
  const lines = (await readFile(path, 'utf8')).split(/\r?\n/);
  return lines.filter((line) => line.trim() !== '');
}

/**
 * Runs one command per parameter, each in a directory of its own. The output of a task that
 * succeeds becomes `results/<task>.txt` and its directory is deleted; the directory of one that
 * fails is kept with its `out.log` and `err.log`.
 */
export async function runFarm(options: FarmOptions): Promise<FarmReport> {
  const { client, params } = options;
  const experiment = resolve(options.experiment);
  const results = join(experiment, 'results');
  await mkdir(results, { recursive: true });
  const directories = params.map((_, index) => join(experiment, String(index + 1)));
  await Promise.all(directories.map((directory) => mkdir(directory, { recursive: true })));

  // One command for all tasks: arg(0) is a task's parameter, arg(1) its directory.
  const simulate = command(
    join(HERE, 'wrapper.sh'),
    ['awk', '-v', text`alpha=${arg(0)}`, '-f', 'heat.awk', 'rod.txt'],
    { cwd: arg(1), stdout: 'out.log', stderr: 'err.log', env: { CASE_DIR: join(HERE, 'case') } },
  );

  const startMs = performance.now();
  const futures = client.map(simulate, params, directories);
  const taskOf = new Map(futures.map((future, index) => [future, index]));
  const failures: { task: number; directory: string; reason: string }[] = [];
  const workers = new Map<string, { tasks: number; busyMs: number }>();
  let done = 0;
  for await (const future of asCompleted(futures)) {
    const index = taskOf.get(future) ?? 0;
    const directory = directories[index] ?? '';
    try {
      await future.result();
      await rename(join(directory, 'result.txt'), join(results, `${index + 1}.txt`));
      await rm(directory, { recursive: true });
    } catch (error) {
      const reason = error instanceof CommandError ? `exit code ${error.exitCode}` : String(error);
      failures.push({ task: index + 1, directory, reason });
    }
    const worker = workers.get(future.worker ?? '?') ?? { tasks: 0, busyMs: 0 };
    workers.set(future.worker ?? '?', {
      tasks: worker.tasks + 1,
      busyMs: worker.busyMs + (future.durationMs ?? 0),
    });
    done += 1;
    options.onProgress?.(done, failures.length);
  }
  const wallMs = performance.now() - startMs;
  return { succeeded: done - failures.length, failures, workers, wallMs };
}
