/** Control groups of this machine, where tests may make any. */
import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

import { onTestFinished } from 'vitest';

import { CGROUP_FILES } from '../../src/shell/task-memory/cgroups/cgroup-files.ts';
import { findCgroupPlace } from '../../src/shell/task-memory/cgroups/cgroup-place.ts';
import { until } from '../shell/fake-scheduler.ts';

let made = 0;

function make(): string | undefined {
  const place = findCgroupPlace(CGROUP_FILES, undefined);
  if (typeof place === 'string') return undefined;
  const directory = join(place.directory, `farm-test-${process.pid}-${++made}`);
  try {
    mkdirSync(directory);
    return directory;
  } catch {
    return undefined;
  }
}

function canMake(): boolean {
  const directory = make();
  if (directory !== undefined) rmdirSync(directory);
  return directory !== undefined;
}

/** Whether memory groups can be made here. */
export const hasCgroups: boolean = process.platform === 'linux' && canMake();

/** A memory group that is gone after the test, with those below it. */
export function aCgroupDirectory(): string {
  const directory = make();
  if (directory === undefined) throw new Error('no memory group can be made here');
  onTestFinished(async () => {
    const directories = [...groupsIn(directory).map((name) => join(directory, name)), directory];
    for (const path of directories) await until(`${path} to be empty`, () => isRemoved(path));
  });
  return directory;
}

/** Processes that are ending are in it a little longer than they are shown. */
function isRemoved(path: string): true | undefined {
  try {
    rmdirSync(path);
    return true;
  } catch {
    return undefined;
  }
}

/** Names of the groups below one. */
export function groupsIn(directory: string): readonly string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
}
