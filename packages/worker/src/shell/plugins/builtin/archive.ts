import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

import { FarmError } from '@farm/protocol/core';

import type { PluginWorker, WorkerPlugin } from '../worker-plugin.ts';
import { workerPath } from './worker-path.ts';

const PROGRAM = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? './archive-main.ts' : './archive-main.js',
    import.meta.url,
  ),
);

/** What {@link archive} archives, and where to. */
export interface ArchiveOptions {
  /** @default the worker's own directory */
  readonly from?: string;
  /** The archive's file, `.tar.gz`. Each worker needs its own: `/results/{worker}.tar.gz`. */
  readonly to: string;
  /** From the end of one archive to the beginning of the next. @default 60_000 */
  readonly everyMs?: number;
  /** Of gzip, 0 to 9. @default 6 */
  readonly level?: number;
}

/**
 * Archives a directory of the worker again and again, and once more when the worker ends. The file
 * is always a whole archive: a new one takes the place of the last when it is on the disk, whatever
 * dies meanwhile. It is made by a process that runs only where nobody else wants the processor.
 */
export function archive(options: ArchiveOptions): WorkerPlugin {
  const { from = '{directory}', to, everyMs = 60_000, level = 6 } = options;
  let timer: NodeJS.Timeout | undefined;
  let making: Promise<void> = Promise.resolve();
  const make = async (worker: PluginWorker): Promise<void> => {
    const target = workerPath(to, worker);
    await mkdir(dirname(target), { recursive: true });
    await run([workerPath(from, worker), target, String(level)]);
  };
  const later = (worker: PluginWorker): void => {
    timer = setTimeout(() => {
      making = make(worker)
        .catch((error: unknown) => worker.log(`no archive this time: ${String(error)}`, 'warn'))
        .then(() => {
          if (timer !== undefined) later(worker);
        });
    }, everyMs);
  };
  return {
    setup: async (worker) => {
      await mkdir(dirname(workerPath(to, worker)), { recursive: true });
      later(worker);
    },
    teardown: async (worker) => {
      clearTimeout(timer);
      timer = undefined;
      await making;
      await make(worker);
    },
  };
}

async function run(args: readonly string[]): Promise<void> {
  // Its standard input is its life line.
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['pipe', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stdin.on('error', () => {});
  // SAFE: what Node says of a child's end.
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code === 0) return;
  const how = code === null ? `signal ${signal}` : `exit code ${code}`;
  throw new FarmError('ERR_PLUGIN', `the archiver ended with ${how}: ${said.slice(-1_000).trim()}`);
}
