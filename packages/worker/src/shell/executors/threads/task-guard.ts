import { encodeError, errorText } from '@farm/protocol/value';
import { inspect } from 'node:util';
import { isMainThread } from 'node:worker_threads';

import { errorName, HIDDEN_FRAMES } from './run-function.ts';
import { currentTask } from './running-task.ts';
import type { PackedFailure } from './thread-messages.ts';

/** Thrown in place of an exit that is not to happen; whoever catches it, it means nothing. */
const NO_EXIT = new Error('process.exit() of a task that has ended is ignored');

/** What a {@link guardTasks} tells. */
export interface TaskGuardHandlers {
  /** An exception that nothing caught: the thread or process ends with it. */
  crashed(crash: PackedFailure): void;
  /**
   * A task that has ended left something behind that does harm, for example a timer that throws.
   * The task that executes now is not to blame; the next one should find a fresh thread.
   */
  harmed(): void;
}

/**
 * Keeps apart, in a thread or process that executes task after task, what the current one does
 * from what earlier ones left behind: an exception or `process.exit` in a callback of a task that
 * has ended is logged under that task's key and hurts no other.
 */
export function guardTasks(handlers: TaskGuardHandlers): void {
  const exit = process.exit.bind(process);
  process.on('unhandledRejection', (reason) => {
    console.error(`farm: unhandled rejection in task ${whose()}: ${inspect(reason)}`);
  });
  process.on('uncaughtException', (error: unknown) => {
    if (error === NO_EXIT) return;
    const task = currentTask();
    if (task?.isOver === true) {
      console.error(`farm: task ${task.key}, which has ended, threw: ${inspect(error)}`);
      handlers.harmed();
      return;
    }
    handlers.crashed({
      message: `uncaught ${errorText(error)}`,
      error: encodeError(error, { hiddenFrames: HIDDEN_FRAMES }),
      name: errorName(error),
    });
  });
  process.exit = (code) => {
    const task = currentTask();
    if (task?.isOver !== true) return exit(code);
    console.error(
      `farm: task ${task.key}, which has ended, called process.exit: exit code ${code ?? 0}`,
    );
    handlers.harmed();
    throw NO_EXIT;
  };
}

function whose(): string {
  return currentTask()?.key ?? 'of nobody';
}

/**
 * Undoes what a task changes in the environment and the working directory when it ends. Costs
 * nothing for tasks that look at neither.
 */
export class TaskSurroundings {
  readonly #env = process.env;
  readonly #before = new Map(Object.entries(process.env));
  readonly #chdir = process.chdir.bind(process);
  #seenEnv = this.#env;
  #isEnvTouched = false;
  #directory: string | undefined;

  constructor() {
    // Not a Proxy: a task may give the environment back as its result.
    Object.defineProperty(process, 'env', {
      get: () => {
        this.#isEnvTouched = true;
        return this.#seenEnv;
      },
      set: (env: NodeJS.ProcessEnv) => {
        this.#isEnvTouched = true;
        this.#seenEnv = env;
      },
      configurable: true,
      enumerable: true,
    });
    // A thread cannot change it, and says so itself.
    if (!isMainThread) return;
    process.chdir = (directory) => {
      const before = process.cwd();
      this.#chdir(directory);
      this.#directory ??= before;
    };
  }

  /** Changes what is there between tasks, and for one that runs now. */
  setEnvironment(changes: Readonly<Record<string, string | null>>): void {
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) {
        this.#before.delete(name);
        delete this.#env[name];
      } else {
        this.#before.set(name, value);
        this.#env[name] = value;
      }
    }
  }

  /** Puts back what was there before the task; false where that cannot be done. */
  restore(): boolean {
    if (this.#isEnvTouched) this.#restoreEnv();
    const directory = this.#directory;
    if (directory === undefined) return true;
    this.#directory = undefined;
    try {
      this.#chdir(directory);
      return true;
    } catch {
      return false;
    }
  }

  #restoreEnv(): void {
    const env = this.#env;
    this.#seenEnv = env;
    for (const name of Object.keys(env)) if (!this.#before.has(name)) delete env[name];
    for (const [name, value] of this.#before) if (env[name] !== value) env[name] = value;
    this.#isEnvTouched = false;
  }
}
