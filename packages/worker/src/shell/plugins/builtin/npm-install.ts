import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { FarmError } from '@farm/protocol/core';

import type { WorkerPlugin } from '../worker-plugin.ts';

/** How much of what npm says is kept for the error. */
const TAIL_LENGTH = 2_000;

/** What {@link npmInstall} installs. */
export interface NpmInstallOptions {
  /** As `npm install` takes them: `name`, `name@version`, a folder or an archive. */
  readonly packages: readonly string[];
  /** Further arguments, for example `--registry=…`. @default none */
  readonly args?: readonly string[];
  /** @default the npm beside the node that runs the worker, else that of the PATH */
  readonly npm?: string;
}

/** Installs packages into the worker's own directory, where tasks import them from. */
export function npmInstall({ packages, args = [], npm }: NpmInstallOptions): WorkerPlugin {
  return {
    setup: async (worker) => {
      const { localDirectory } = worker;
      const program = npm ?? ownNpm();
      const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
      const all = ['install', '--prefix', localDirectory, ...quiet, ...args, '--', ...packages];
      await run(program, all, localDirectory);
      worker.log(`installed ${packages.join(', ')}`);
    },
  };
}

function ownNpm(): string {
  const beside = join(dirname(process.execPath), 'npm');
  return existsSync(beside) ? beside : 'npm';
}

async function run(program: string, args: readonly string[], cwd: string): Promise<void> {
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
  let tail = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL_LENGTH);
  });
  // SAFE: what Node says of a child's end.
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code === 0) return;
  const how = code === null ? `signal ${signal}` : `exit code ${code}`;
  throw new FarmError('ERR_PLUGIN', `${program} install ended with ${how}: ${tail.trim()}`);
}
