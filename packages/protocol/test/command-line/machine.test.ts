import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { totalmem } from 'node:os';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

import { affinityCount, systemMemoryBytes } from '../../src/command-line/machine.ts';

function machine(files: Readonly<Record<string, string>>, cpus = 16) {
  return {
    readText: (path: string) => files[path],
    availableParallelism: () => cpus,
    totalMemory: () => 64e9,
  };
}

const LIMITS = [
  'Limit                     Soft Limit           Hard Limit           Units     ',
  'Max resident set          unlimited            unlimited            bytes     ',
  'Max address space         SOFT                 unlimited            bytes     ',
].join('\n');

describe('systemMemoryBytes', () => {
  test('is the physical memory where nothing limits it', () => {
    expect(systemMemoryBytes(machine({}))).toBe(64e9);
    const unlimited = {
      '/proc/self/cgroup': '4:memory:/a\n0::/a\n',
      '/proc/self/limits': LIMITS.replace('SOFT', 'unlimited'),
      '/sys/fs/cgroup/a/memory.max': 'max\n',
      '/sys/fs/cgroup/memory/a/memory.limit_in_bytes': '9223372036854771712\n',
    };
    expect(systemMemoryBytes(machine(unlimited))).toBe(64e9);
  });

  test('is the limit of an ancestor in version 2 control groups, as Slurm sets it', () => {
    const files = {
      '/proc/self/cgroup': '0::/slurm/job_1/step_0\n',
      '/sys/fs/cgroup/slurm/job_1/step_0/memory.max': 'max\n',
      '/sys/fs/cgroup/slurm/job_1/memory.max': '8000000000\n',
    };
    expect(systemMemoryBytes(machine(files))).toBe(8e9);
    const high = { ...files, '/sys/fs/cgroup/slurm/memory.high': '7000000000\n' };
    expect(systemMemoryBytes(machine(high))).toBe(7e9);
  });

  test('is the limit of version 1 control groups, also where only the root is mounted', () => {
    const files = {
      '/proc/self/cgroup': '4:memory:/docker/abc\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '2000000000\n',
    };
    expect(systemMemoryBytes(machine(files))).toBe(2e9);
  });

  test('is the resource limit of the process', () => {
    const files = { '/proc/self/limits': LIMITS.replace('SOFT', '3000000000') };
    expect(systemMemoryBytes(machine(files))).toBe(3e9);
  });

  test('reads this machine', () => {
    expect(systemMemoryBytes()).toBeGreaterThan(0);
    expect(systemMemoryBytes()).toBeLessThanOrEqual(totalmem());
  });
});

describe('affinityCount', () => {
  test('is the affinity mask, lowered to the CPU quota of any ancestor', () => {
    expect(affinityCount(machine({}, 6))).toBe(6);
    const version2 = {
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/a/b/cpu.max': 'max 100000\n',
      '/sys/fs/cgroup/a/cpu.max': '250000 100000\n',
    };
    expect(affinityCount(machine(version2))).toBe(2);
    expect(affinityCount(machine(version2, 1))).toBe(1);
    const version1 = {
      '/proc/self/cgroup': '5:cpu,cpuacct:/a\n',
      '/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us': '400000\n',
      '/sys/fs/cgroup/cpu/a/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    };
    expect(affinityCount(machine(version1))).toBe(4);
  });

  test('is at least 1', () => {
    const files = { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '50000 100000\n' };
    expect(affinityCount(machine(files))).toBe(1);
  });

  test.runIf(existsSync('/usr/bin/taskset'))('follows taskset', async () => {
    const url = new URL('../../src/command-line/machine.ts', import.meta.url).href;
    const code = `import(${JSON.stringify(url)}).then((m) => console.log(m.affinityCount()))`;
    const args = ['-c', '0', process.execPath, '--eval', code];
    const { stdout } = await promisify(execFile)('taskset', args);
    expect(stdout).toBe('1\n');
  });
});
