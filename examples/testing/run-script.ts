import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Root of the repository. */
export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));

/** A program that has ended. */
export interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@link runScript}. */
export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds after which the program is killed. */
  readonly deadlineMs?: number;
  /** Called with all of stdout so far, whenever there is more. */
  readonly onStdout?: (stdout: string) => void;
  /** Called with the process id once it runs. */
  readonly onStart?: (pid: number) => void;
}

/** Runs a script of the examples with Node as a user does, and resolves when it has ended. */
export async function runScript(
  script: string,
  args: readonly string[],
  options: RunOptions,
): Promise<Ended> {
  const path = fileURLToPath(new URL(`../${script}`, import.meta.url));
  return runProgram(process.execPath, ['--conditions=@farm/source', path, ...args], options);
}

/** Runs any program to its end. Its credentials are those of processes started in `cwd`. */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<Ended> {
  const { cwd, env = {}, deadlineMs = 40_000, onStdout } = options;
  const child = spawn(program, args, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, FARM_HOME: `${cwd}/.farm`, ...env },
    timeout: deadlineMs,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    onStdout?.(stdout);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  if (child.pid !== undefined) options.onStart?.(child.pid);
  await once(child, 'close');
  return { exitCode: child.exitCode, stdout, stderr };
}
