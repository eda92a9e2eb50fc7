import { writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';

import { command } from '@farm/client';
import { expect, test } from 'vitest';

import { LimitedWorker } from './limited-worker.ts';

// Goal: a task that takes more memory than it asked for ends with all it started, or asks for more;
// its worker and its neighbours go on.

/** Takes 10 MB more and more, with pauses in which that can be seen. */
async function takeMore(): Promise<never> {
  const kept: Uint8Array[] = [];
  for (;;) {
    kept.push(new Uint8Array(10_000_000).fill(1));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test.skipIf(process.platform !== 'linux')(
  'a command that takes more than it asked for is killed with all it started; others go on',
  { timeout: 60_000 },
  async () => {
    await using worker = await LimitedWorker.start(2, '1GB');
    const { client } = worker;
    const pid = await worker.pid();
    // What takes the memory is not the command itself.
    const greedy = 'node -e "const b = Buffer.alloc(3e8, 1); setTimeout(() => b, 1e5)" & wait';
    const busy = 'i=0; while [ $i -lt 600000 ]; do i=$((i+1)); done';
    const goOn = join(worker.site.directory, 'go-on');
    const patient = 'while [ ! -e "$0" ]; do sleep 0.02; done; echo fine';
    const neighbour = client.submit(command('sh', ['-c', patient, goOn]));
    const task = client.with({ memory: '150MB' }).submit(command('sh', ['-c', greedy]));
    expect(await task.exception({ timeoutMs: 30_000 })).toMatchObject({
      name: 'MemoryLimitExceeded',
      code: 'ERR_MEMORY_LIMIT',
      message: expect.stringMatching(/took \d+\.\d+ MiB .* more than the 143\.05 MiB/) as string,
    });
    writeFileSync(goOn, '');
    expect((await neighbour.result()).stdout).toBe('fine\n');
    expect(await worker.pid()).toBe(pid);
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
    const hungry = client.with({ memory: '150MB' }).submit(takeMore);
    expect(await hungry.exception({ timeoutMs: 30_000 })).toMatchObject({
      code: 'ERR_MEMORY_LIMIT',
    });
    expect(await worker.pid()).toBe(pid);
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
    await using worker = await LimitedWorker.start(2, '600MB');
    const { client } = worker;
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
  'the resident memory of a process that runs functions counts for their tasks',
  { timeout: 60_000 },
  async () => {
    await using worker = await LimitedWorker.start(2, '1GB', '--executor', 'processes');
    const { client } = worker;
    const pid = await worker.pid();
    const neighbour = client.submit(
      async (path: string) => {
        const { existsSync } = await import('node:fs');
        while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 20));
        return process.pid;
      },
      join(worker.site.directory, 'go-on'),
    );
    const hungry = client.with({ memory: '250MB' }).submit(takeMore);
    expect(await hungry.exception({ timeoutMs: 30_000 })).toMatchObject({
      code: 'ERR_MEMORY_LIMIT',
      message: expect.stringMatching(/took \d+\.\d+ MiB .* more than the 238\.42 MiB/) as string,
    });
    writeFileSync(join(worker.site.directory, 'go-on'), '');
    expect(await neighbour.result({ timeoutMs: 20_000 })).not.toBe(pid);
    // The process that took the memory is gone: what runs in its slot begins with little.
    const modest = client.with({ memory: '250MB' }).map((x: number) => x + 1, [1, 2, 3, 4]);
    expect(await client.gather(modest)).toEqual([2, 3, 4, 5]);
    expect(await worker.pid()).toBe(pid);
  },
);

test.skipIf(process.platform !== 'linux')(
  'a function that fills its heap without a pause is ended at the memory it asked for',
  { timeout: 60_000 },
  async () => {
    await using worker = await LimitedWorker.start(1, '2GB');
    const { client } = worker;
    const pid = await worker.pid();
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
    expect(await worker.pid()).toBe(pid);
    expect(worker.program.log).not.toContain('killing it');
  },
);

test.skipIf(process.platform !== 'linux' || totalmem() < 6_000_000_000)(
  'the heap of a function may grow to the memory limit of its worker',
  { timeout: 60_000 },
  async () => {
    await using worker = await LimitedWorker.start(1, '6GB');
    const { client } = worker;
    const heapBytes = client.submit(async (): Promise<number> => {
      const { getHeapStatistics } = await import('node:v8');
      return getHeapStatistics().heap_size_limit;
    });
    expect(await heapBytes.result({ timeoutMs: 30_000 })).toBeGreaterThan(5_500_000_000);
  },
);
