import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';

/** Where the capacity of this machine is read; tests pass their own. */
export interface MachineSource {
  /** The text of a file of the kernel, undefined where it cannot be read. */
  readonly readText: (path: string) => string | undefined;
  /** CPUs in the affinity mask. @default os.availableParallelism */
  readonly availableParallelism: () => number;
  /** Physical memory in bytes. @default os.totalmem */
  readonly totalMemory: () => number;
}

const HOST: MachineSource = {
  readText: (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  },
  availableParallelism,
  totalMemory: totalmem,
};

/**
 * The memory this process may use, in bytes: the least of physical memory, the limits of its
 * control groups (version 1 or 2, every ancestor: a batch system limits the job, not the step)
 * and its resource limits.
 */
export function systemMemoryBytes(source: Partial<MachineSource> = {}): number {
  const { readText, totalMemory } = { ...HOST, ...source };
  const limits = [
    totalMemory(),
    ...cgroupFiles(readText, '', 'memory.max').map(toLimit),
    ...cgroupFiles(readText, '', 'memory.high').map(toLimit),
    ...cgroupFiles(readText, 'memory', 'memory.limit_in_bytes').map(toLimit),
    ...resourceLimits(readText('/proc/self/limits') ?? ''),
  ];
  return Math.min(...limits);
}

/**
 * The CPUs this process may use, at least 1: those of its affinity mask (`taskset`, `srun`,
 * cpusets), and no more than the CPU quota of its control groups rounded down.
 */
export function affinityCount(source: Partial<MachineSource> = {}): number {
  const { readText, availableParallelism: affinity } = { ...HOST, ...source };
  const quotas = [
    ...cgroupFiles(readText, '', 'cpu.max').map((text) => {
      const [quota = '', period = ''] = text.split(/\s+/);
      return toLimit(quota) / toLimit(period);
    }),
    ...cgroupPaths(readText, 'cpu').map((path) => {
      const quota = toLimit(readText(`${path}/cpu.cfs_quota_us`) ?? '-1');
      return quota / toLimit(readText(`${path}/cpu.cfs_period_us`) ?? '');
    }),
  ];
  const finite = quotas.filter((cpus) => cpus > 0).map(Math.floor);
  return Math.max(1, Math.min(affinity(), ...finite));
}

/** The texts of a file in the process's control group and each of its ancestors. */
function cgroupFiles(
  readText: MachineSource['readText'],
  controller: string,
  file: string,
): readonly string[] {
  return cgroupPaths(readText, controller).flatMap((path) => {
    const text = readText(`${path}/${file}`);
    return text === undefined ? [] : [text.trim()];
  });
}

/**
 * The directories of the process's control group and its ancestors, up to the mount's root. Where
 * the path is that of the host, as in a container without its own namespace, only the root exists.
 *
 * @param controller - Empty for version 2, else the name of a version 1 hierarchy.
 */
function cgroupPaths(readText: MachineSource['readText'], controller: string): readonly string[] {
  const lines = (readText('/proc/self/cgroup') ?? '').split('\n');
  return lines.flatMap((line) => {
    const [, controllers = '', path = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (line === '' || !controllers.split(',').includes(controller)) return [];
    const mount = controller === '' ? '/sys/fs/cgroup' : `/sys/fs/cgroup/${controller}`;
    const parts = path.split('/').filter((part) => part !== '');
    return [...parts.keys(), parts.length].map((count) => {
      return [mount, ...parts.slice(0, count)].join('/');
    });
  });
}

/** The soft limits on memory in `/proc/self/limits`, set by `ulimit` and some batch systems. */
function resourceLimits(text: string): readonly number[] {
  return ['Max address space', 'Max resident set'].flatMap((name) => {
    const line = text.split('\n').find((candidate) => candidate.startsWith(name));
    const soft = line?.slice(name.length).trim().split(/\s+/)[0];
    return soft === undefined ? [] : [toLimit(soft)];
  });
}

/** A number of the kernel; `max`, `unlimited` and `-1` are Infinity, and so is what is unreadable. */
function toLimit(text: string): number {
  const number = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
  return number > 0 ? number : Infinity;
}
