import { readEnvironment, readProcesses, type ProcessEntry } from './process-table.ts';

/** The processes of one command: what it was started as, its group, and what they started. */
export interface ProcessTree {
  readonly rssBytes: number;
  readonly cpuTicks: number;
  readonly groups: ReadonlySet<number>;
}

/** How a command is found: by what its environment says. */
export interface CommandMark {
  readonly key: string;
  readonly attempt: number;
  readonly worker: string;
}

/** Command that a process belongs to, null for none; and how often that was looked at. */
interface Seen {
  readonly mark: string | null;
  readonly looks: number;
}

/** A process that is no command's after so many looks is none for good. */
const LOOKS_MAX = 3;

/** Reads the processes there are, and their environments. */
export interface ProcessReader {
  readonly processes: () => readonly ProcessEntry[];
  readonly environment: (pid: number) => readonly string[];
}

const READER: ProcessReader = {
  processes: () => readProcesses(),
  environment: (pid) => readEnvironment(pid),
};

/**
 * Finds the processes of commands, whoever started them: those that have a command's `FARM_KEY`,
 * `FARM_ATTEMPT` and `FARM_WORKER` in their environment, all of their process group, and all that
 * these have started. One look serves all commands; an environment is read once.
 */
export class ProcessTrees {
  readonly #reader: ProcessReader;
  /** What was read of each process, by pid and start. */
  #seen = new Map<string, Seen>();

  constructor(reader: ProcessReader = READER) {
    this.#reader = reader;
  }

  /** The trees of these commands, in their order; undefined where nothing of one is there. */
  look(commands: readonly CommandMark[]): readonly (ProcessTree | undefined)[] {
    const processes = this.#reader.processes();
    const wanted = commands.map(markOf);
    const owner = this.#owners(processes, new Set(wanted));
    const trees = new Map<string, { rssBytes: number; cpuTicks: number; groups: Set<number> }>();
    const ownGroup = processes.find(({ pid }) => pid === process.pid)?.group;
    for (const { pid, group, rssBytes, cpuTicks } of processes) {
      const mark = owner.get(pid);
      // Nothing in the group of this process is a command: it would be killed with it.
      if (mark === undefined || group === ownGroup) continue;
      const tree = trees.get(mark) ?? { rssBytes: 0, cpuTicks: 0, groups: new Set<number>() };
      tree.rssBytes += rssBytes;
      tree.cpuTicks += cpuTicks;
      tree.groups.add(group);
      trees.set(mark, tree);
    }
    return wanted.map((mark) => trees.get(mark));
  }

  /** Whose each process is. */
  #owners(
    processes: readonly ProcessEntry[],
    wanted: ReadonlySet<string>,
  ): ReadonlyMap<number, string> {
    const seen = new Map<string, Seen>();
    const owner = new Map<number, string>();
    const groups = new Map<number, string>();
    for (const { pid, group, startTicks } of processes) {
      const name = `${pid} ${startTicks}`;
      const before = this.#seen.get(name) ?? { mark: null, looks: 0 };
      // Between fork and exec a process has the environment of who started it: look again.
      const isKnown = before.mark !== null || before.looks >= LOOKS_MAX;
      const mark = isKnown ? before.mark : this.#readMark(pid);
      seen.set(name, { mark, looks: before.looks + 1 });
      if (mark === null || !wanted.has(mark)) continue;
      owner.set(pid, mark);
      if (group === pid) groups.set(group, mark);
    }
    this.#seen = seen;
    const byPid = new Map(processes.map((entry) => [entry.pid, entry]));
    const findOwner = (entry: ProcessEntry, depth: number): string | undefined => {
      const known = owner.get(entry.pid) ?? groups.get(entry.group);
      if (known !== undefined || depth > 64) return known;
      const parent = byPid.get(entry.parent);
      return parent === undefined ? undefined : findOwner(parent, depth + 1);
    };
    for (const entry of processes) {
      const mark = findOwner(entry, 0);
      if (mark !== undefined) owner.set(entry.pid, mark);
    }
    return owner;
  }

  #readMark(pid: number): string | null {
    let key: string | undefined;
    let attempt: string | undefined;
    let worker: string | undefined;
    for (const entry of this.#reader.environment(pid)) {
      if (entry.startsWith('FARM_KEY=')) key = entry.slice(9);
      else if (entry.startsWith('FARM_ATTEMPT=')) attempt = entry.slice(13);
      else if (entry.startsWith('FARM_WORKER=')) worker = entry.slice(12);
    }
    if (key === undefined || attempt === undefined || worker === undefined) return null;
    return [key, attempt, worker].join('\0');
  }
}

function markOf({ key, attempt, worker }: CommandMark): string {
  // As it is read: byte by byte.
  return [key, String(attempt), worker]
    .map((text) => Buffer.from(text).toString('latin1'))
    .join('\0');
}
