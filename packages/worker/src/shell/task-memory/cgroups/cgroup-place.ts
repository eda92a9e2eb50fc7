import type { CgroupFiles } from './cgroup-files.ts';

/** A control group below which those of tasks are made. */
export interface CgroupPlace {
  readonly version: 1 | 2;
  readonly directory: string;
}

/**
 * Where control groups of tasks can be made: below the worker's own, whose limits hold for them,
 * too. With version 2 that takes one whose `cgroup.subtree_control` has `memory`, which a group with
 * processes never has, but for the root; so there a delegated one has to be named.
 *
 * @param named - A directory for it; undefined for the worker's own group.
 * @returns a clause that says why there is none.
 */
export function findCgroupPlace(
  files: CgroupFiles,
  named: string | undefined,
): CgroupPlace | string {
  const place =
    named === undefined ? ownGroup(files) : { version: versionOf(files, named), directory: named };
  if (typeof place === 'string') return place;
  const { version, directory } = place;
  if (version === 1) {
    // Without it the limit of the batch system would not hold in groups below.
    const isNested = files.readText(`${directory}/memory.use_hierarchy`)?.trim() === '1';
    return isNested ? { version, directory } : `${directory} is no memory group that can be nested`;
  }
  const controllers = files.readText(`${directory}/cgroup.subtree_control`) ?? '';
  return controllers.trim().split(/\s+/).includes('memory')
    ? { version, directory }
    : `${directory} does not give the memory controller to groups below it`;
}

function versionOf({ readText }: CgroupFiles, directory: string): 1 | 2 {
  return readText(`${directory}/cgroup.controllers`) === undefined ? 1 : 2;
}

/** The memory group of this process; version 1 where a host has both. */
function ownGroup({ readText }: CgroupFiles): CgroupPlace | string {
  const groups = (readText('/proc/self/cgroup') ?? '').split('\n').flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    return controllers === undefined || path === undefined ? [] : [{ controllers, path }];
  });
  const mounts = (readText('/proc/self/mountinfo') ?? '').split('\n').map(parseMount);
  for (const version of [1, 2] as const) {
    const group = groups.find(({ controllers }) =>
      version === 1 ? controllers.split(',').includes('memory') : controllers === '',
    );
    const mount = mounts.find((candidate) =>
      version === 1
        ? candidate?.type === 'cgroup' && candidate.options.includes('memory')
        : candidate?.type === 'cgroup2',
    );
    if (group === undefined || mount === undefined) continue;
    const below = pathBelow(group.path, mount.root);
    if (below === undefined) return `its own group ${group.path} is not mounted`;
    return { version, directory: `${mount.point}${below}` };
  }
  return 'no control groups are mounted';
}

interface Mount {
  readonly root: string;
  readonly point: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** A line of mountinfo: `31 23 0:28 / /sys/fs/cgroup rw … - cgroup2 cgroup2 rw`. */
function parseMount(line: string): Mount | undefined {
  const [before = '', after = ''] = line.split(' - ');
  const [, , , root, point] = before.split(' ');
  const [type, , options] = after.split(' ');
  if (root === undefined || point === undefined || type === undefined) return undefined;
  return { root, point, type, options: (options ?? '').split(',') };
}

/** What is mounted may be a part of the hierarchy only, as in a container. */
function pathBelow(path: string, root: string): string | undefined {
  if (path.includes('..') || root.includes('..')) return undefined;
  const base = root === '/' ? '' : root;
  if (path === base || path === '/') return path === base || base === '' ? '' : undefined;
  return path.startsWith(`${base}/`) ? path.slice(base.length) : undefined;
}
