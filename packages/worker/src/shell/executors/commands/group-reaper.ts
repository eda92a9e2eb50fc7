import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Writable } from 'node:stream';

/**
 * Reads `+ group` and `- group` lines; at the end of input, which comes when the worker is gone
 * however it went, kills the groups that are left.
 */
const SCRIPT = `
trap '' HUP INT TERM
groups=' '
while read -r change group; do
  case $change in
    +) groups="$groups$group " ;;
    -) groups="\${groups%%" $group "*} \${groups#*" $group "}" ;;
  esac
done
[ "$groups" = ' ' ] && exit 0
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
sleep 1
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
`;

/**
 * Makes commands end with the worker, even where the worker is killed and can do nothing itself:
 * a helper process holds a pipe from the worker, and kills the running process groups when the
 * pipe closes. Node gives no access to the parent-death signal of Linux, and that one would reach
 * only the command, not what it started.
 */
export class GroupReaper {
  #helper: ChildProcessByStdio<Writable, null, null> | undefined;
  #isClosed = false;
  readonly #warn: (text: string) => void;

  /** @param warn - told where the helper cannot run; commands run on without it */
  constructor(warn: (text: string) => void) {
    this.#warn = warn;
  }

  /** Starts the helper. Called before a command is started, so that `started` need not wait for it. */
  prepare(): void {
    this.#start();
  }

  started(group: number): void {
    this.#start().stdin.write(`+ ${group}\n`);
  }

  ended(group: number): void {
    this.#helper?.stdin.write(`- ${group}\n`);
  }

  /** Lets the helper end. To be called when no command runs any more. */
  close(): void {
    this.#isClosed = true;
    this.#helper?.stdin.end();
  }

  #start(): ChildProcessByStdio<Writable, null, null> {
    if (this.#helper !== undefined) return this.#helper;
    // A group and directory of its own: signals of the worker's terminal do not reach it, and it
    // does not keep a file system busy.
    const helper = spawn('/bin/sh', ['-c', SCRIPT, 'farm-reaper'], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      cwd: '/',
    });
    const failed = (error: Error): void => {
      if (!this.#isClosed) this.#warn(`commands would outlive a killed worker: ${error.message}`);
    };
    helper.once('error', failed);
    helper.stdin.on('error', failed);
    helper.unref();
    // SAFE: a pipe of a child process is a socket, which can be kept from holding the process.
    (helper.stdin as Writable & { unref?: () => void }).unref?.();
    this.#helper = helper;
    return helper;
  }
}
