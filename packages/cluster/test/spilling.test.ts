import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Client, Future } from '@farm/client';
import { describe, expect, test } from 'vitest';

import { filesIn, LimitedWorker, peakBytes } from './limited-worker.ts';
import { until } from './processes.ts';
import { SmallDisk } from './small-disk.ts';

// Goal: what a worker holds may be more than its memory: results are spilled, read from their files
// and gone with them; a full disk stops the worker from taking more, and loses nothing.

const RESULT_BYTES = 200_000_000;
const LIMIT_BYTES = 600_000_000;

function largeResults(client: Client, count: number): readonly Future<Uint8Array>[] {
  const aLargeResult = (index: number): Uint8Array => new Uint8Array(200_000_000).fill(index + 1);
  return client.map(
    aLargeResult,
    Array.from({ length: count }, (_, index) => index),
  );
}

async function checkResult(future: Future<Uint8Array>, index: number): Promise<void> {
  const value = await future.result({ timeoutMs: 60_000 });
  expect(value.byteLength).toBe(RESULT_BYTES);
  expect([value[0], value[RESULT_BYTES / 2], value.at(-1)]).toEqual(Array(3).fill(index + 1));
}

describe.skipIf(process.platform !== 'linux')('a worker of 600 MB', { timeout: 240_000 }, () => {
  test('holds results of 1.6 GB, whose files are gone with them', async () => {
    await using worker = await LimitedWorker.start(1, '600MB');
    const [pid, spill] = [await worker.pid(), await worker.spillDirectory()];
    const futures = largeResults(worker.client, 8);
    await until('all results are there', () => futures.every(({ done }) => done), 120_000);
    expect(filesIn(spill).length).toBeGreaterThan(4);
    for (const [index, future] of futures.entries()) await checkResult(future, index);
    expect(worker.program.log).not.toContain('killing it');
    expect([await worker.pid(), await worker.spillDirectory()]).toEqual([pid, spill]);
    expect(peakBytes(pid)).toBeLessThan(LIMIT_BYTES);
    for (const future of futures) future.release();
    await until('the spill files are gone', () => filesIn(spill).length === 0);
  });

  test('pauses on a full disk until results are released; none is lost', async ({ skip }) => {
    using disk = SmallDisk.mount(250) ?? skip('a small file system cannot be mounted here');
    await using worker = await LimitedWorker.start(1, '600MB', '--local-directory', disk.directory);
    const pid = await worker.pid();
    const futures = largeResults(worker.client, 8);
    await until('the disk is full', () => /ENOSPC/.test(worker.program.log), 60_000);
    for (const [index, future] of futures.entries()) {
      await checkResult(future, index);
      future.release();
    }
    expect(worker.program.log).not.toContain('killing it');
    expect(await worker.pid()).toBe(pid);
    expect(worker.program.log).toContain('could not spill to disk');
  });

  test('goes on once a full disk has space again, though nothing is released', async ({ skip }) => {
    // Not one result fits.
    using disk = SmallDisk.mount(150) ?? skip('a small file system cannot be mounted here');
    await using worker = await LimitedWorker.start(1, '600MB', '--local-directory', disk.directory);
    const pid = await worker.pid();
    const futures = largeResults(worker.client, 4);
    const isPaused = (): boolean => /paused: .* cannot be spilled/.test(worker.program.log);
    await until('it has paused', isPaused, 60_000);
    expect(futures.every(({ done }) => done)).toBe(false);
    disk.grow(1_500);
    await until('all results are there', () => futures.every(({ done }) => done), 120_000);
    expect(worker.program.log).toContain('there is room for results again');
    for (const [index, future] of futures.entries()) await checkResult(future, index);
    expect(await worker.pid()).toBe(pid);
  });
});

test.skipIf(process.platform !== 'linux')(
  'a spilled result whose file is damaged is computed again',
  { timeout: 90_000 },
  async () => {
    // Spills whatever is worth a file.
    await using worker = await LimitedWorker.start(1, '1GB', '--memory-fractions', 'target=0.001');
    const { client } = worker;
    const spill = await worker.spillDirectory();
    const make = (fill: number): Uint8Array => new Uint8Array(3_000_000).fill(fill);
    const [first, second] = [client.submit(make, 1), client.submit(make, 2)];
    await until('both are spilled', () => filesIn(spill).length === 2);
    for (const name of filesIn(spill)) {
      const path = join(spill, name);
      const bytes = readFileSync(path);
      bytes[2_000_000] = 99;
      writeFileSync(path, bytes);
    }
    expect((await first.result({ timeoutMs: 20_000 })).every((byte) => byte === 1)).toBe(true);
    const sum = client.submit((value: Uint8Array) => value.reduce((a, b) => a + b, 0), second);
    expect(await sum.result({ timeoutMs: 20_000 })).toBe(6_000_000);
    for (const name of filesIn(spill)) rmSync(join(spill, name));
    expect((await second.result({ timeoutMs: 20_000 })).every((byte) => byte === 2)).toBe(true);
  },
);

test.skipIf(process.platform !== 'linux')(
  'a result that is larger than the memory limit is refused before it is copied',
  { timeout: 60_000 },
  async () => {
    await using worker = await LimitedWorker.start(1, '400MB');
    const { client } = worker;
    const pid = await worker.pid();
    // Zeros that nobody has read or written take no memory, so that only a copy would.
    const tooLarge = [
      client.submit(() => new Uint8Array(500_000_000)),
      client.submit(() => ({ parts: [1, 2, 3].map(() => new Float64Array(25_000_000)) })),
    ];
    for (const future of tooLarge) {
      expect(await future.exception({ timeoutMs: 30_000 })).toMatchObject({
        code: 'ERR_RESULT',
        message: expect.stringMatching(
          /: the result.*: takes more than 381\.47 MiB, the memory limit of worker .*: return less/,
        ) as string,
      });
    }
    expect(await client.submit(() => 'fine').result()).toBe('fine');
    expect(await worker.pid()).toBe(pid);
    expect(peakBytes(pid)).toBeLessThan(400_000_000);
    expect(worker.program.log).not.toContain('killing it');
  },
);
