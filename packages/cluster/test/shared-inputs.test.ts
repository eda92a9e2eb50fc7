import { readFileSync, writeFileSync } from 'node:fs';

import { Client } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import { expect, test } from 'vitest';

const BYTES = 134_217_728;
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
    // All threads have started, and know the function.
    const pids = await client.gather(
      client
        .with({ workers: 'local-1' })
        .map((_: number) => process.pid, Array<number>(4 * SLOTS).fill(0)),
    );
    const [pid = NaN] = pids;
    const input = maker.submit((length: number) => new Float64Array(length).fill(1), BYTES / 8);
    expect(await input.exception()).toBeUndefined();
    const before = residentBytes(pid);
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
    const together = (values: Float64Array, _: number, slots: number): number => {
      // Each waits for all, in the one way that tells that they see the same memory.
      const counter = new Int32Array(values.buffer, values.byteOffset, 1);
      Atomics.add(counter, 0, 1);
      Atomics.notify(counter, 0);
      for (let seen = Atomics.load(counter, 0); seen < slots; seen = Atomics.load(counter, 0)) {
        Atomics.wait(counter, 0, seen);
      }
      return values.subarray(1).reduce((sum, value) => sum + value, 0);
    };
    const rounds = Array.from({ length: SLOTS }, (_, index) => index);
    const sums = users.map(
      together,
      rounds.map(() => input),
      rounds,
      rounds.map(() => SLOTS),
    );
    expect(await client.gather(sums)).toEqual(rounds.map(() => BYTES / 8 - 1));
    expect(peakBytes(pid) - before).toBeLessThan(1.5 * BYTES);
    for (const future of [...sums, input]) future.release();
    await expect
      .poll(() => residentBytes(pid) - before, { timeout: 30_000 })
      .toBeLessThan(BYTES / 2);
  },
);
