import { expect, test } from 'vitest';

import { LimitedWorker } from './limited-worker.ts';

// Goal: a task that takes more memory than its worker has costs the worker, and is blamed for it;
// the worker comes back, and what others wait for arrives.

test.skipIf(process.platform !== 'linux')(
  'a worker that is killed by memory ten times comes back after growing delays',
  { timeout: 240_000 },
  async () => {
    await using worker = await LimitedWorker.start(1, '250MB', '--name', 'w');
    const { client } = worker;
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
    const delays = [...worker.program.log.matchAll(/killed for its memory.* delayMs=(\d+)/g)];
    expect(delays.length).toBeGreaterThanOrEqual(10);
    expect(delays.slice(0, 4).map(([, ms]) => Number(ms))).toEqual([100, 400, 1_600, 5_000]);
  },
);
