import type { CommandFunction } from '@farm/protocol';

import { pinnedCommand } from '../../pinning/pin.ts';
import type { ExecutorRun } from '../executor.ts';
import {
  environmentChanged,
  InheritedEnvironment,
  taskEnvironment,
} from './command-environment.ts';
import type { CommandLine } from './command-line.ts';
import { CommandProcess } from './command-process.ts';
import type { CommandSite } from './command-site.ts';
import { GroupReaper } from './group-reaper.ts';
import { OutputLog } from './output/output-log.ts';
import type { OutputSink, RunningCommand } from './running-command.ts';
import { isSpawnable, SpawnedCommand } from './spawned-command.ts';
import { SpawnerPool } from './spawner/spawner-pool.ts';

/** Options of a {@link CommandStarter}. */
export interface CommandStarterOptions {
  readonly slots: number;
  readonly workerName: string;
  readonly cwd: string;
  readonly site: CommandSite;
  /** What commands inherit. @default process.env, as it is when a command starts */
  readonly env: NodeJS.ProcessEnv | undefined;
  /** Who starts commands: a spawner where there can be one, or always Node. */
  readonly commandSpawner: 'auto' | 'node';
  /** CPUs that each slot is bound to; undefined for none. */
  readonly slotCpus: readonly string[] | undefined;
  readonly warn: (text: string) => void;
}

/** Makes commands ready to run: who starts them, what they inherit, where their output goes. */
export class CommandStarter {
  readonly #workerName: string;
  readonly #inherited: InheritedEnvironment;
  readonly #reaper: GroupReaper;
  readonly #spawners: SpawnerPool | undefined;
  readonly #output: OutputLog;
  readonly #slotCpus: readonly string[] | undefined;

  constructor(options: CommandStarterOptions) {
    const { slots, workerName, cwd, site, env = process.env, commandSpawner, warn } = options;
    const { slotCpus } = options;
    this.#slotCpus = slotCpus;
    this.#workerName = workerName;
    this.#inherited = new InheritedEnvironment(env, site.variables);
    this.#spawners = commandSpawner === 'node' ? undefined : new SpawnerPool({ slots, slotCpus });
    this.#reaper = new GroupReaper(warn);
    this.#output = new OutputLog({ cwd, directory: site.outputDirectory, workerName });
  }

  /**
   * A command that can be given to a spawner at once, and be followed by others; undefined for one
   * that `prepare` sees to.
   */
  queueable(
    slot: number,
    line: CommandLine,
    run: ExecutorRun,
    { captureBytesMax }: CommandFunction,
  ): SpawnedCommand | undefined {
    const spawner = this.#spawners?.get(slot);
    if (spawner === undefined || spawner instanceof Promise) return undefined;
    if (line.stdout.to === 'stream' || line.stderr.to === 'stream') return undefined;
    const env = taskEnvironment(run, this.#workerName, line.env);
    if (!isSpawnable(line, env)) return undefined;
    const inherited = this.#inherited.texts();
    const options = { spawner, lane: slot, inherited, env, captureBytesMax, sink: undefined };
    return new SpawnedCommand(line, options);
  }

  /** What is inherited has changed: what begins from now on finds it so. */
  environmentChanged(): void {
    environmentChanged();
    this.#spawners?.inherit(this.#inherited.texts());
  }

  /**
   * A command that is ready to run. It is to be in this directory of its own, and in the control
   * group with this entry, if it has them; only a spawner can put it there before it runs.
   */
  async prepare(
    slot: number,
    line: CommandLine,
    run: ExecutorRun,
    { captureBytesMax }: CommandFunction,
    { directory, cgroup }: { directory: string | undefined; cgroup: string | undefined },
  ): Promise<RunningCommand> {
    const env = taskEnvironment(run, this.#workerName, line.env, directory);
    const streams = line.stdout.to === 'stream' || line.stderr.to === 'stream';
    const sink: OutputSink | undefined = streams ? await this.#output.sink(run) : undefined;
    const found = isSpawnable(line, env) ? this.#spawners?.get(slot) : undefined;
    const spawner = found instanceof Promise ? await found : found;
    if (spawner !== undefined) {
      const inherited = this.#inherited.texts();
      const options = { spawner, lane: slot, inherited, env, captureBytesMax, sink, cgroup };
      return new SpawnedCommand(line, options);
    }
    const all = { ...this.#inherited.record(), ...Object.fromEntries(env) };
    const [file, args] = pinnedCommand(this.#slotCpus?.[slot], line.file, line.args);
    const pinned = { ...line, file, args };
    return new CommandProcess(pinned, { env: all, captureBytesMax, reaper: this.#reaper, sink });
  }

  /** To be called when no command runs any more. */
  async close(): Promise<void> {
    this.#reaper.close();
    await Promise.all([this.#spawners?.close(), this.#output.close()]);
  }
}
