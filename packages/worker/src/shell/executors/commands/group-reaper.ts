import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { Writable } from 'node:stream';

/** Variable of a command's environment that tells it apart from all others. */
const MARK = 'FARM_REAPER';

/**
 * Reads `+ group` and `- group` lines; at the end of input, which comes when the worker is gone
 * however it went, kills the groups that are left. Between `? mark` and the `+` that follows, the
 * worker starts a command whose group is not known yet: it is found by the mark in its environment,
 * where the system shows that (Linux), also a second later, when it is surely what it is to be.
 */
const SCRIPT = `
trap '' HUP INT TERM
groups=' '
mark=''
while read -r change group; do
  case $change in
    '?') mark=$group ;;
    +) groups="$groups$group " mark='' ;;
    -) groups="\${groups%%" $group "*} \${groups#*" $group "}" ;;
  esac
done
marked() {
  [ -z "$mark" ] && return
  grep -ls "${MARK}=$mark" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ pid _; do
    echo "$pid"
  done
}
[ "$groups$mark" = ' ' ] && exit 0
for group in $groups $(marked); do kill -s TERM -- "-$group" 2>/dev/null; done
sleep 1
for group in $groups $(marked); do kill -s KILL -- "-$group" 2>/dev/null; done
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
  readonly #id = randomBytes(9).toString('hex');
  #count = 0;

  /** @param warn - told where the helper cannot run; commands run on without it */
  constructor(warn: (text: string) => void) {
    this.#warn = warn;
  }

  /**
   * A command is about to be started; `started` or `failed` follows at once. The worker may be
   * killed in between, when the command runs already.
   *
   * @returns what is to be in the command's environment
   */
  starting(): Readonly<Record<string, string>> {
    const mark = `${this.#id}-${++this.#count}.`;
    this.#start().stdin.write(`? ${mark}\n`);
    return { [MARK]: mark };
  }

  failed(): void {
    this.#start().stdin.write('?\n');
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
