/**
 * How a task names its code. Encoded by the client with `encodeValue`, opaque to the scheduler,
 * decoded by workers.
 */

/** What a function runs in: a thread of the worker's process, or a process of its own. */
export type FunctionExecutor = 'threads' | 'processes';

/** A self-contained function by its source text. */
export interface SourceFunction {
  readonly kind: 'source';
  readonly name: string;
  /** An expression that evaluates to the function. */
  readonly source: string;
  /** @default as the worker runs functions (`farm-worker --executor`) */
  readonly executor?: FunctionExecutor;
  /** Whether its large inputs may be memory that other tasks read, too. @default false */
  readonly sharedInputs?: boolean;
}

/** An export of a module that workers can import. */
export interface ModuleFunction {
  readonly kind: 'module';
  readonly name: string;
  /** `file:` URL or bare specifier. */
  readonly url: string;
  readonly exportName: string;
  /** @default as the worker runs functions (`farm-worker --executor`) */
  readonly executor?: FunctionExecutor;
  /** Whether its large inputs may be memory that other tasks read, too. @default false */
  readonly sharedInputs?: boolean;
}

/** Stands for argument `arg` of the task, in a command's texts. */
export interface ArgumentSlot {
  readonly arg: number;
}

/** Text with argument slots; an array is joined without separator. */
export type CommandText = string | ArgumentSlot | readonly (string | ArgumentSlot)[];

/** What happens to an output stream of a command. */
export type CommandOutput =
  | { readonly to: 'capture' }
  | { readonly to: 'ignore' }
  | { readonly to: 'stream' }
  | { readonly to: 'file'; readonly path: CommandText; readonly append: boolean };

/** A program to run; argv stays an array. */
export interface CommandFunction {
  readonly kind: 'command';
  readonly name: string;
  readonly file: CommandText;
  readonly args: readonly CommandText[];
  /** Null means the worker's own directory. */
  readonly cwd: CommandText | null;
  /** Merged over the worker's environment. */
  readonly env: readonly (readonly [name: string, value: CommandText])[];
  /** Text given to standard input; null closes it. */
  readonly stdin: CommandText | null;
  readonly stdout: CommandOutput;
  readonly stderr: CommandOutput;
  /** Exit codes that are a success. */
  readonly acceptExitCodes: readonly number[];
  /** Captured output beyond this many bytes is dropped from the middle, per stream. */
  readonly captureBytesMax: number;
  /** Runs the command as its last argument does; goes inside the worker's own. @default none */
  readonly prefix?: readonly CommandText[];
  /** Gives each attempt a directory of its own. @default none */
  readonly stage?: CommandStage;
}

/** What is brought into a command's own directory and taken out of it. */
export interface CommandStage {
  /** Where the directory is made. Null means below the worker's local directory. */
  readonly directory: CommandText | null;
  readonly in: readonly StageIn[];
  readonly out: readonly StageOut[];
  /** When the directory is removed. */
  readonly remove: 'always' | 'on-success' | 'never';
}

/** A file or tree that is brought. */
export interface StageIn {
  /** A relative path starts in the worker's directory. */
  readonly from: CommandText;
  /** Path inside the command's directory; null means the last part of `from`. */
  readonly to: CommandText | null;
  /** Whether a symbolic link is enough. */
  readonly link: boolean;
}

/** Files or trees that are taken. */
export interface StageOut {
  /** Glob pattern inside the command's directory. */
  readonly from: CommandText;
  /** Where to; its own text may have placeholders. Ends in `/` where it names a directory. */
  readonly to: CommandText;
  /** Whether it is well when nothing matches. */
  readonly optional: boolean;
}

/** Code of a task. */
export type FunctionSpec = SourceFunction | ModuleFunction | CommandFunction;

/** What a command's future resolves to. */
export interface CommandResult {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Captured text; empty where the stream goes to a file or is ignored. */
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
  /** Absolute paths on the worker of what its stage took out. */
  readonly outputs?: readonly string[];
  /** Its directory on the worker, where its stage says never to remove it. */
  readonly directory?: string;
}
