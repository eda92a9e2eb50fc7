import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';

import { Client, command } from '@farm/client';
import { expect, test } from 'vitest';

import { Site, until } from './processes.ts';

// Goal: what a worker holds may be more than its memory: results are spilled, read from their files
// and gone with them; a full disk stops the worker from taking more, and loses nothing; a task that
// takes too much costs its worker and is blamed for it.

const RESULT_BYTES = 200_000_000;
const LIMIT_BYTES = 600_000_000;

/** The most resident memory a process has had, bytes. */
function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}

async function theWorker(
  client: Client,
): Promise<{ readonly pid: number; readonly spill: string }> {
  const [worker] = (await client.schedulerInfo()).workers;
  return { pid: worker?.pid ?? 0, spill: join(worker?.localDirectory ?? '', 'spill') };
}

function filesIn(directory: string): readonly string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}

function aLargeResult(index: number): Uint8Array {
  return new Uint8Array(200_000_000).fill(index + 1);
}

async function checkResult(value: Uint8Array, index: number): Promise<void> {
  expect(value.byteLength).toBe(RESULT_BYTES);
  expect([value[0], value[RESULT_BYTES / 2], value.at(-1)]).toEqual(Array(3).fill(index + 1));
}

test.skipIf(process.platform !== 'linux')(
  'results of 1.6 GB are held by a worker of 600 MB, and their files are gone with them',
  { timeout: 180_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    const program = site.worker('--nthreads', '1', '--memory-limit', '600MB');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const { pid, spill } = await theWorker(client);
    const futures = client.map(aLargeResult, [0, 1, 2, 3, 4, 5, 6, 7]);
    await until('all results are there', () => futures.every(({ done }) => done), 120_000);
    expect(filesIn(spill).length).toBeGreaterThan(4);
    for (const [index, future] of futures.entries()) {
      await checkResult(await future.result({ timeoutMs: 60_000 }), index);
    }
    expect(program.log).not.toContain('killing it');
    expect(await theWorker(client)).toEqual({ pid, spill });
    expect(peakBytes(pid)).toBeLessThan(LIMIT_BYTES);
    for (const future of futures) future.release();
    await until('the spill files are gone', () => filesIn(spill).length === 0);
  },
);

test.skipIf(process.platform !== 'linux')(
  'on a full disk the worker pauses until results are released; none is lost',
  { timeout: 240_000 },
  async ({ skip }) => {
    await using site = await Site.open();
    const disk = join(site.directory, 'disk');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=250m', 'farm-test', disk], {
        stdio: 'ignore',
      });
    } catch {
      skip('a small file system cannot be mounted here: that takes root');
    }
    try {
      site.scheduler();
      const args = ['--nthreads', '1', '--memory-limit', '600MB', '--local-directory', disk];
      const program = site.worker(...args);
      await using client = new Client({ schedulerFile: site.schedulerFile });
      await client.waitForWorkers(1, { timeoutMs: 20_000 });
      const { pid } = await theWorker(client);
      const futures = client.map(aLargeResult, [0, 1, 2, 3, 4, 5, 6, 7]);
      await until('the disk is full', () => /ENOSPC/.test(program.log), 60_000);
      for (const [index, future] of futures.entries()) {
        await checkResult(await future.result({ timeoutMs: 60_000 }), index);
        future.release();
      }
      expect(program.log).not.toContain('killing it');
      expect((await theWorker(client)).pid).toBe(pid);
      expect(program.log).toContain('could not spill to disk');
      program.child.kill('SIGTERM');
      await program.ended();
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  },
);

test.skipIf(process.platform !== 'linux')(
  'on a full disk the worker goes on once there is space again, though nothing is released',
  { timeout: 240_000 },
  async ({ skip }) => {
    await using site = await Site.open();
    const disk = join(site.directory, 'disk');
    mkdirSync(disk);
    const mount = (...options: readonly string[]): void => {
      const size = options.join(',');
      execFileSync('mount', ['-t', 'tmpfs', '-o', size, 'farm-test', disk], { stdio: 'ignore' });
    };
    try {
      // Not one result fits.
      mount('size=150m');
    } catch {
      skip('a small file system cannot be mounted here: that takes root');
    }
    try {
      site.scheduler();
      const args = ['--nthreads', '1', '--memory-limit', '600MB', '--local-directory', disk];
      const program = site.worker(...args);
      await using client = new Client({ schedulerFile: site.schedulerFile });
      await client.waitForWorkers(1, { timeoutMs: 20_000 });
      const { pid } = await theWorker(client);
      const futures = client.map(aLargeResult, [0, 1, 2, 3]);
      await until('it has paused', () => /paused: .* cannot be spilled/.test(program.log), 60_000);
      expect(futures.every(({ done }) => done)).toBe(false);
      mount('remount', 'size=1500m');
      await until('all results are there', () => futures.every(({ done }) => done), 120_000);
      expect(program.log).toContain('there is room for results again');
      for (const [index, future] of futures.entries()) {
        await checkResult(await future.result({ timeoutMs: 60_000 }), index);
      }
      expect((await theWorker(client)).pid).toBe(pid);
      program.child.kill('SIGTERM');
      await program.ended();
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  },
);

test.skipIf(process.platform !== 'linux')(
  'a spilled result whose file is damaged is computed again',
  { timeout: 90_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    // Spills whatever is worth a file.
    site.worker('--nthreads', '1', '--memory-limit', '1GB', '--memory-fractions', 'target=0.001');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const { spill } = await theWorker(client);
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
  'a command that takes more than it asked for is killed with all it started; others go on',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    site.worker('--nthreads', '2', '--memory-limit', '1GB');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const { pid } = await theWorker(client);
    // What takes the memory is not the command itself.
    const greedy = 'node -e "const b = Buffer.alloc(3e8, 1); setTimeout(() => b, 1e5)" & wait';
    const busy = 'i=0; while [ $i -lt 600000 ]; do i=$((i+1)); done';
    const neighbour = client.submit(command('sh', ['-c', 'sleep 3; echo fine']));
    const task = client.with({ memory: '150MB' }).submit(command('sh', ['-c', greedy]));
    expect(await task.exception({ timeoutMs: 30_000 })).toMatchObject({
      name: 'MemoryLimitExceeded',
      code: 'ERR_MEMORY_LIMIT',
      message: expect.stringMatching(/took \d+\.\d+ MiB .* more than the 143\.05 MiB/) as string,
    });
    expect((await neighbour.result()).stdout).toBe('fine\n');
    expect((await theWorker(client)).pid).toBe(pid);
    const modest = client
      .with({ memory: 1e8 })
      .submit(command('sh', ['-c', 'echo $FARM_RESOURCE_MEMORY']));
    expect((await modest.result()).stdout).toBe('100000000\n');
    const measured = client.with({ memory: '500MB' }).submit(command('sh', ['-c', busy]));
    await measured.result();
    const causes = (await client.story(measured)).map(({ cause }) => cause);
    expect(causes.at(-1)).toMatch(
      /^finished: \d+ MiB of memory, (\d\.\d s|\d{3} ms) of processor time$/,
    );
    const hungry = client.with({ memory: '150MB' }).submit(async () => {
      const kept: Uint8Array[] = [];
      for (;;) {
        kept.push(new Uint8Array(10_000_000).fill(1));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    expect(await hungry.exception({ timeoutMs: 30_000 })).toMatchObject({
      code: 'ERR_MEMORY_LIMIT',
    });
    expect((await theWorker(client)).pid).toBe(pid);
    const long = client.submit(() => {
      const endMs = performance.now() + 50;
      let turns = 0;
      while (performance.now() < endMs) turns += 1;
      return turns;
    });
    await long.result();
    const [told] = (await client.story(long)).slice(-1);
    // Not every Node tells the processor time of a thread.
    const isTold = process.threadCpuUsage !== undefined;
    expect(told?.cause).toMatch(isTold ? /^finished: \d+ ms of processor time$/ : /^finished$/);
    const never = client.with({ memory: '2GB' }).submit(command('true'));
    const { summary } = await client.explain(never);
    expect(summary).toContain('memory=2000000000');
  },
);

test.skipIf(process.platform !== 'linux')(
  'a task that took more than it asked for asks for more, as often as that helps',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    site.worker('--nthreads', '2', '--memory-limit', '600MB');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const grows = client.with({ memory: '60MB', growMemory: 3 });
    const take = 'head -c "$0" /dev/zero | tail -c 2000000000 | wc -c; echo $FARM_RESOURCE_MEMORY';
    const takes = (bytes: number): ReturnType<typeof command> =>
      command('sh', ['-c', take, String(bytes)]);
    const [small, medium, large] = [1e6, 250e6, 600e6].map((bytes) => grows.submit(takes(bytes)));
    expect((await small?.result({ timeoutMs: 30_000 }))?.stdout).toBe('1000000\n60000000\n');
    expect((await medium?.result({ timeoutMs: 30_000 }))?.stdout).toBe('250000000\n540000000\n');
    expect(await large?.exception({ timeoutMs: 30_000 })).toMatchObject({
      code: 'ERR_MEMORY_LIMIT',
      message: expect.stringMatching(
        /more than the 572\.20 MiB .* no worker .* has more/,
      ) as string,
    });
    const causes = (await client.story(medium ?? '')).map(({ cause }) => cause);
    const grown = causes.flatMap(
      (cause) => /^run failed, again with (.*?): /.exec(cause)?.[1] ?? [],
    );
    expect([...new Set(grown)]).toEqual([
      '172 MiB of memory instead of 57 MiB',
      '515 MiB of memory instead of 172 MiB',
    ]);
  },
);

test.skipIf(process.platform !== 'linux')(
  'a worker that is killed by memory ten times comes back after growing delays',
  { timeout: 240_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    const program = site.worker('--nthreads', '1', '--memory-limit', '250MB', '--name', 'w');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const take = async (): Promise<void> => {
      const kept: Uint8Array[] = [];
      for (;;) {
        kept.push(new Uint8Array(20_000_000).fill(1));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    const killers = [1, 2, 3].map(() => client.submit(take));
    const innocents = client.map((x: number) => x * x, [1, 2, 3, 4, 5]);
    for (const killer of killers) {
      expect(await killer.exception({ timeoutMs: 200_000 })).toMatchObject({
        code: 'ERR_KILLED_WORKER',
        message: expect.stringMatching(/signal SIGKILL, \d{3} MiB of memory/) as string,
      });
    }
    expect(await client.gather(innocents)).toEqual([1, 4, 9, 16, 25]);
    const delays = [...program.log.matchAll(/killed for its memory.* delayMs=(\d+)/g)];
    expect(delays.length).toBeGreaterThanOrEqual(10);
    expect(delays.slice(0, 4).map(([, ms]) => Number(ms))).toEqual([100, 400, 1_600, 5_000]);
  },
);

test.skipIf(process.platform !== 'linux')(
  'a result that is larger than the memory limit is refused before it is copied',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    const program = site.worker('--nthreads', '1', '--memory-limit', '400MB');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const { pid } = await theWorker(client);
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
    expect((await theWorker(client)).pid).toBe(pid);
    expect(peakBytes(pid)).toBeLessThan(400_000_000);
    expect(program.log).not.toContain('killing it');
  },
);

test.skipIf(process.platform !== 'linux')(
  'the resident memory of a process that runs functions counts for their tasks',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    site.worker('--nthreads', '2', '--memory-limit', '1GB', '--executor', 'processes');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const { pid } = await theWorker(client);
    const neighbour = client.submit(
      async (path: string) => {
        const { existsSync } = await import('node:fs');
        while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 20));
        return process.pid;
      },
      join(site.directory, 'go-on'),
    );
    const hungry = client.with({ memory: '250MB' }).submit(async () => {
      const kept: Uint8Array[] = [];
      for (;;) {
        kept.push(new Uint8Array(10_000_000).fill(1));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    expect(await hungry.exception({ timeoutMs: 30_000 })).toMatchObject({
      code: 'ERR_MEMORY_LIMIT',
      message: expect.stringMatching(/took \d+\.\d+ MiB .* more than the 238\.42 MiB/) as string,
    });
    writeFileSync(join(site.directory, 'go-on'), '');
    expect(await neighbour.result({ timeoutMs: 20_000 })).not.toBe(pid);
    // The process that took the memory is gone: what runs in its slot begins with little.
    const modest = client.with({ memory: '250MB' }).map((x: number) => x + 1, [1, 2, 3, 4]);
    expect(await client.gather(modest)).toEqual([2, 3, 4, 5]);
    expect((await theWorker(client)).pid).toBe(pid);
  },
);

test.skipIf(process.platform !== 'linux')(
  'a function that fills its heap without a pause is ended at the memory it asked for',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    const program = site.worker('--nthreads', '1', '--memory-limit', '2GB');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const { pid } = await theWorker(client);
    const fillHeap = (): void => {
      const all: unknown[] = [];
      for (;;) all.push(Array.from({ length: 10_000 }, Math.random));
    };
    const asked = client.with({ memory: '100MB' }).submit(fillHeap);
    expect(await asked.exception({ timeoutMs: 30_000 })).toMatchObject({
      code: 'ERR_MEMORY_LIMIT',
      message: expect.stringMatching(/more than the 95\.37 MiB it asked for/) as string,
    });
    expect(await client.submit(() => 'fine').result()).toBe('fine');
    expect((await theWorker(client)).pid).toBe(pid);
    expect(program.log).not.toContain('killing it');
  },
);

test.skipIf(process.platform !== 'linux' || totalmem() < 6_000_000_000)(
  'the heap of a function may grow to the memory limit of its worker',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    site.worker('--nthreads', '1', '--memory-limit', '6GB');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    const heapBytes = client.submit(async (): Promise<number> => {
      const { getHeapStatistics } = await import('node:v8');
      return getHeapStatistics().heap_size_limit;
    });
    expect(await heapBytes.result({ timeoutMs: 30_000 })).toBeGreaterThan(5_500_000_000);
  },
);
