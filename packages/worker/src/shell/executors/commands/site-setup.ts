import { FarmError } from '@farm/protocol/core';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';

import type { CommandSite } from './command-site.ts';

const OUTPUT_BYTES_MAX = 16_777_216;
const SETUP_MS_MAX = 120_000;
/** What a shell changes by itself. */
const OF_THE_SHELL: ReadonlySet<string> = new Set(['_', 'SHLVL', 'PWD', 'OLDPWD']);
const run = promisify(execFile);

/**
 * Sources a site's setup script in a shell, `bash` where there is one, and tells what it changed in
 * the environment. What the script writes is not looked at.
 *
 * @throws FarmError `ERR_ARGUMENT` with what the script said, where it fails or takes longer than
 * two minutes
 */
export async function siteVariables(
  script: string,
  env: NodeJS.ProcessEnv,
): Promise<NonNullable<CommandSite['variables']>> {
  const path = resolve(script);
  // Started by a program, bash may take it for a remote login and read the user's ~/.bashrc.
  const hasBash = existsSync('/bin/bash');
  // The environment goes past the shell, which would leave out names that it cannot have.
  const source = '. "$0" >&2 && exec env -0';
  let stdout: string;
  try {
    ({ stdout } = await run(
      hasBash ? '/bin/bash' : '/bin/sh',
      [...(hasBash ? ['--norc'] : []), '-c', source, path],
      {
        env,
        maxBuffer: OUTPUT_BYTES_MAX,
        timeout: SETUP_MS_MAX,
      },
    ));
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const why = said === '' && error instanceof Error ? error.message : said.slice(-1_000);
    throw new FarmError('ERR_ARGUMENT', `--site-setup ${path} failed: ${why}`, { cause: error });
  }
  const after = new Map<string, string>();
  for (const text of stdout.split('\0')) {
    const at = text.indexOf('=');
    if (at > 0) after.set(text.slice(0, at), text.slice(at + 1));
  }
  const changed: Record<string, string | undefined> = {};
  for (const name of new Set([...Object.keys(env), ...after.keys()])) {
    if (!OF_THE_SHELL.has(name) && env[name] !== after.get(name)) changed[name] = after.get(name);
  }
  return changed;
}
