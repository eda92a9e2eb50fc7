import { spawn } from 'node:child_process';

import { expect, onTestFinished, test } from 'vitest';

import { readProcesses, type ProcessEntry } from '../../src/shell/task-memory/process-table.ts';
import { ProcessTrees } from '../../src/shell/task-memory/process-trees.ts';
import { until } from '../shell/fake-scheduler.ts';

function anEntry(pid: number, parent: number, group: number, rssBytes: number): ProcessEntry {
  return { pid, parent, group, startTicks: String(pid), rssBytes, cpuTicks: 1 };
}

const MARKED = ['FARM_KEY=k-1', 'FARM_ATTEMPT=2', 'FARM_WORKER=w'];
const COMMAND = { key: 'k-1', attempt: 2, worker: 'w' };

test('a command is what it was started as, its group, and what they started', () => {
  const environments = new Map([[10, MARKED]]);
  const trees = new ProcessTrees({
    processes: () => [
      anEntry(1, 0, 1, 1_000),
      anEntry(10, 1, 10, 1),
      // Left its parent, stayed in the group; left both, was started by one of them.
      anEntry(11, 1, 10, 2),
      anEntry(12, 11, 12, 4),
      anEntry(20, 1, 20, 1_000),
    ],
    environment: (pid) => environments.get(pid) ?? [],
  });
  const [tree, other] = trees.look([COMMAND, { ...COMMAND, attempt: 1 }]);
  expect(tree).toMatchObject({ rssBytes: 7, cpuTicks: 3 });
  expect([...(tree?.groups ?? [])]).toEqual([10, 12]);
  expect(other).toBeUndefined();
});

test('a process is known by its start: another one with its number is another', () => {
  let start = 'first';
  let environment: readonly string[] = MARKED;
  const trees = new ProcessTrees({
    processes: () => [{ ...anEntry(10, 1, 10, 5), startTicks: start }],
    environment: () => environment,
  });
  expect(trees.look([COMMAND])[0]?.rssBytes).toBe(5);
  environment = [];
  expect(trees.look([COMMAND])[0]?.rssBytes).toBe(5);
  start = 'second';
  expect(trees.look([COMMAND])[0]).toBeUndefined();
});

test('a process that was looked at between fork and exec is looked at again', () => {
  let environment: readonly string[] = [];
  const trees = new ProcessTrees({
    processes: () => [anEntry(10, 1, 10, 5)],
    environment: () => environment,
  });
  expect(trees.look([COMMAND])[0]).toBeUndefined();
  environment = MARKED;
  expect(trees.look([COMMAND])[0]?.rssBytes).toBe(5);
});

test.skipIf(process.platform !== 'linux')('reads the processes of this machine', async () => {
  const own = readProcesses().find(({ pid }) => pid === process.pid);
  expect(own?.parent).toBe(process.ppid);
  expect(own?.rssBytes).toBeGreaterThan(1e7);
  const child = spawn('sleep', ['100'], {
    detached: true,
    env: { ...process.env, FARM_KEY: 'é', FARM_ATTEMPT: '1', FARM_WORKER: 'w' },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const trees = new ProcessTrees();
  await until('it is found', () => {
    const [tree] = trees.look([{ key: 'é', attempt: 1, worker: 'w' }]);
    return tree !== undefined && tree.groups.has(child.pid ?? 0);
  });
});
