import { readFileSync, writeFileSync } from 'node:fs';

import { Client, type Future } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import { expect, test } from 'vitest';

const BYTES = 268_435_456;
const SLOTS = 4;

/** The most memory a process had resident, bytes. */
function peakBytes(pid: number): number {
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

function residentBytes(pid: number): number {
  const [, kilobytes] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

test.runIf(process.platform === 'linux')(
  'four slots that use one large input at once hold it once, and it goes when it is released',
  { timeout: 120_000 },
  async () => {
    await using cluster = await LocalCluster.start({
      workers: 2,
      threadsPerWorker: SLOTS,
      dashboardAddress: null,
    });
    await using client = new Client(cluster);
    const maker = client.with({ workers: 'local-0' });
    const users = client.with({ workers: 'local-1', sharedInputs: true });
    const together = (values: Float64Array, at: number, slots: number): number => {
      // Each waits for all, in the one way that tells that they see the same memory.
      const counter = new Int32Array(values.buffer, values.byteOffset, 1);
      Atomics.add(counter, 0, 1);
      Atomics.notify(counter, 0);
      for (let seen = Atomics.load(counter, 0); seen < slots; seen = Atomics.load(counter, 0)) {
        Atomics.wait(counter, 0, seen);
      }
      return values.subarray(1).reduce((sum, value) => sum + value, at);
    };
    const use = async (bytes: number): Promise<Future<unknown>[]> => {
      const input = maker.submit((length: number) => new Float64Array(length).fill(1), bytes / 8);
      const slots = Array.from({ length: SLOTS }, (_, slot) => slot);
      const sums = users.map(
        together,
        slots.map(() => input),
        slots,
        slots.map(() => SLOTS),
      );
      expect(await client.gather(sums)).toEqual(slots.map((slot) => bytes / 8 - 1 + slot));
      return [...sums, input];
    };
    const pid = await client
      .with({ workers: 'local-1' })
      .submit(() => process.pid)
      .result();
    // All threads have started, and know the function.
    for (const future of await use(2_097_152)) future.release();
    const before = residentBytes(pid);
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
    const futures = await use(BYTES);
    expect(peakBytes(pid) - before).toBeLessThan(1.5 * BYTES);
    for (const future of futures) future.release();
    await expect
      .poll(() => residentBytes(pid) - before, { timeout: 30_000 })
      .toBeLessThan(BYTES / 2);
  },
);
