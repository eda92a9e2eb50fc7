/** What a task that misbehaves does to the tasks around it, seen by a client. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Client } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import type { FarmError } from '@farm/protocol';
import { taskContext } from '@farm/worker/task';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { until } from './processes.ts';

let cluster: LocalCluster;
let client: Client;
const directory = mkdtempSync(join(tmpdir(), 'farm-test-'));
let marks = 0;

/** Path of a file that is not there. */
const aMark = (): string => join(directory, `mark-${++marks}`);

beforeAll(async () => {
  cluster = await LocalCluster.start({ workers: 1, threadsPerWorker: 2, dashboardAddress: null });
  client = new Client(cluster);
});

afterAll(async () => {
  await client.close();
  await cluster.close();
  rmSync(directory, { recursive: true });
});

const failureOf = async (result: Promise<unknown>): Promise<FarmError> =>
  result.then(
    () => {
      throw new Error('it did not fail');
    },
    // SAFE: whatever a future rejects with is one.
    (error: unknown) => error as FarmError,
  );

const workerPid = async (): Promise<number> => {
  const [worker] = (await client.schedulerInfo()).workers;
  return worker?.pid ?? 0;
};

describe.each(['threads', 'processes'] as const)('in %s', (executor) => {
  test('a task that loops for ever and is cancelled leaves its slot to the next', async () => {
    const pid = await workerPid();
    const apart = client.with({ executor });
    const marks = [1, 2].map(() => aMark());
    const stuck = apart.map((mark: string) => {
      process.getBuiltinModule('node:fs').writeFileSync(mark, 'on');
      for (;;);
    }, marks);
    await until('both run', () => marks.every((mark) => existsSync(mark)));
    const next = apart.submit(() => 'next');
    for (const future of stuck) future.cancel();
    expect(await next.result()).toBe('next');
    expect(await workerPid()).toBe(pid);
  });

  test('a task that is cancelled hears of it by its signal', async () => {
    const apart = client.with({ executor });
    const [on, over] = [aMark(), aMark()];
    const listens = apart.submit(
      async (onMark: string, overMark: string) => {
        const { writeFileSync } = process.getBuiltinModule('node:fs');
        const { signal } = taskContext();
        writeFileSync(onMark, 'on');
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        // SAFE: it is a FarmError.
        writeFileSync(overMark, (signal.reason as { code: string }).code);
      },
      on,
      over,
    );
    await until('it runs', () => existsSync(on));
    listens.cancel();
    await until('it has cleaned up', () => existsSync(over) && statSync(over).size > 0);
    expect(readFileSync(over, 'utf8')).toBe('ERR_CANCELLED');
    expect(await apart.submit(() => 'next').result()).toBe('next');
  });

  test('process.exit and exceptions astray fail their task, and no other', async () => {
    const pid = await workerPid();
    const apart = client.with({ executor });
    const neighbours = apart.map((x: number) => x * 2, [1, 2, 3, 4]);
    const exits = apart.submit(() => process.exit(3));
    const throws = apart.submit(
      () =>
        new Promise(() => {
          setTimeout(() => {
            throw new RangeError('astray');
          }, 5);
        }),
    );
    expect(await failureOf(exits.result())).toMatchObject({ code: 'ERR_WORKER_CRASH' });
    expect((await failureOf(throws.result())).message).toContain('uncaught RangeError: astray');
    expect(await client.gather(neighbours)).toEqual([2, 4, 6, 8]);
    expect(await workerPid()).toBe(pid);
  });
});

test('a fault of native code in a process fails its task; worker and neighbours live', async () => {
  const pid = await workerPid();
  const apart = client.with({ executor: 'processes' });
  const neighbour = client.submit(
    () => new Promise<string>((resolve) => setTimeout(resolve, 500, 'lives')),
  );
  const faults = apart.submit(() => process.kill(process.pid, 'SIGSEGV'));
  const failure = await failureOf(faults.result());
  expect(failure.code).toBe('ERR_WORKER_CRASH');
  expect(failure.message).toContain('SIGSEGV');
  expect(await neighbour.result()).toBe('lives');
  expect(await workerPid()).toBe(pid);
});

test('a long synchronous task in one slot does not delay an async one in another', async () => {
  const mark = aMark();
  const spin = client.submit((path: string) => {
    process.getBuiltinModule('node:fs').writeFileSync(path, 'on');
    const end = performance.now() + 1_500;
    while (performance.now() < end);
    return 'spun';
  }, mark);
  await until('it runs', () => existsSync(mark));
  const order: string[] = [];
  const waits = client.submit(async () => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return 'waited';
  });
  await Promise.all([
    spin.result().then((value) => order.push(value)),
    waits.result().then((value) => order.push(value)),
  ]);
  expect(order).toEqual(['waited', 'spun']);
});
