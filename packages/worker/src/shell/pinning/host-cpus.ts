import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { HOST_FILES, type HostFiles } from '../host-files.ts';

/** One CPU that this process may use, and what it is part of. */
export interface HostCpu {
  readonly cpu: number;
  /** Number of its memory node (NUMA), -1 where the kernel does not tell. */
  readonly node: number;
  /** The lowest CPU of its core: hardware threads of one core have the same. */
  readonly core: number;
}

const NODES = '/sys/devices/system/node';
const CPUS = '/sys/devices/system/cpu';

/** The CPUs in the affinity mask of this process; none where the system does not tell (not Linux). */
export function hostCpus(source: HostFiles = HOST_FILES): readonly HostCpu[] {
  const status = source.read('/proc/self/status');
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '');
  const nodes = new Map<number, number>();
  for (const name of source.list(NODES)) {
    const node = /^node(\d+)$/.exec(name)?.[1];
    if (node === undefined) continue;
    for (const cpu of parseCpuList(source.read(`${NODES}/${name}/cpulist`))) {
      nodes.set(cpu, Number(node));
    }
  }
  return allowed.map((cpu) => {
    const siblings = parseCpuList(source.read(`${CPUS}/cpu${cpu}/topology/thread_siblings_list`));
    return { cpu, node: nodes.get(cpu) ?? -1, core: siblings[0] ?? cpu };
  });
}

/** The program that sets affinity masks, which Node cannot; undefined where there is none. */
export function findTaskset(path: string): string | undefined {
  const directories = path.split(delimiter).filter((directory) => directory.startsWith('/'));
  return directories
    .map((directory) => join(directory, 'taskset'))
    .find((file) => existsSync(file));
}

/** Reads a list of the kernel: `0-3,8` is 0, 1, 2, 3 and 8. What is no list is empty. */
export function parseCpuList(text: string): readonly number[] {
  return text
    .trim()
    .split(',')
    .flatMap((part) => {
      const [, from, to = from] = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(part) ?? [];
      if (from === undefined) return [];
      const length = Math.max(0, Number(to) - Number(from) + 1);
      return Array.from({ length }, (_, index) => Number(from) + index);
    });
}

/** Writes a list as the kernel does. */
export function formatCpuList(cpus: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const cpu of cpus.toSorted((a, b) => a - b)) {
    const range = ranges.at(-1);
    if (range !== undefined && range[1] === cpu - 1) range[1] = cpu;
    else ranges.push([cpu, cpu]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join();
}
