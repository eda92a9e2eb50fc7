/** Values in files in memory, for tests. */
import { readdirSync, readlinkSync } from 'node:fs';

import { collectGarbage } from '../../../src/shell/collect-garbage.ts';
import { openFilePages } from '../../../src/shell/memory-files/file-pages.ts';
import { ResultFiles } from '../../../src/shell/memory-files/result-files.ts';
import { keepFile } from '../../../src/shell/memory-files/value-files.ts';
import { until } from '../fake-scheduler.ts';
import { aValue } from '../host-memory/values.ts';

/** A value as a thread hands it over, and its worker keeps it. */
export function aFileValue(sizeBytes: number): Uint8Array {
  const results = new ResultFiles(Infinity);
  const value = results.allocate(sizeBytes);
  value.set(aValue(sizeBytes));
  const file = results.handOver(value);
  if (file === undefined) throw new Error('there are no files in memory here');
  keepFile(value.buffer, file);
  return value;
}

/** Whether the system has them: Linux from 6.1 on, with huge pages; and koffi is installed. */
export function hasMemoryFiles(): boolean {
  const results = new ResultFiles(Infinity);
  const file = results.handOver(results.allocate(33_554_432));
  if (file !== undefined) openFilePages()?.close(file);
  return file !== undefined;
}

/** Waits until nothing of what is collected anyway has a file open here. */
export async function noResultFiles(): Promise<void> {
  await until('files in memory are closed', () => {
    collectGarbage();
    return openResultFiles() === 0 ? true : undefined;
  });
}

/** Files in memory for results that this process has open. */
export function openResultFiles(): number {
  return readdirSync('/proc/self/fd').filter((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`).includes('memfd:farm-result');
    } catch {
      return false;
    }
  }).length;
}
