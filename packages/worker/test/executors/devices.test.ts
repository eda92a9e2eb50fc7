import { describe, expect, test } from 'vitest';

import type { ExecutorRun, RunDevices } from '../../src/shell/executors/executor.ts';
import type { taskContext as getContext } from '../../src/shell/executors/threads/task-context.ts';
import { Harness } from './executor-harness.ts';

// Functions travel by their source: what they use of the worker is there by name.
declare const taskContext: typeof getContext;

function device(id: string): RunDevices {
  return {
    granted: [['GPU', [id]]],
    variables: [
      ['FARM_RESOURCE_GPU', id],
      ['CUDA_VISIBLE_DEVICES', `GPU-${id}`],
    ],
  };
}

function look(): readonly unknown[] {
  const { FARM_RESOURCE_GPU: farm, CUDA_VISIBLE_DEVICES: cuda } = process.env;
  return [process.pid, taskContext().devices, farm, cuda];
}

describe.each(['threads', 'processes'] as const)('functions in %s', (functionsIn) => {
  test('learn their devices, and those after them learn theirs', async () => {
    await using harness = new Harness({ functionsIn });
    const fn = harness.source(look);
    const found = async (fields: Partial<ExecutorRun>): Promise<unknown> => {
      const run = harness.start(fn, [], fields);
      await harness.end(run);
      const [, ...rest] = harness.results.get(run) as readonly unknown[];
      return rest;
    };
    const ownCuda = process.env['CUDA_VISIBLE_DEVICES'];
    expect(await found({ devices: device('0') })).toEqual([{ GPU: ['0'] }, '0', 'GPU-0']);
    expect(await found({})).toEqual([{}, undefined, ownCuda]);
    expect(await found({ devices: device('1') })).toEqual([{ GPU: ['1'] }, '1', 'GPU-1']);
  });

  test('that wait without their slot leave nothing in the environment of the next', async () => {
    await using harness = new Harness({ functionsIn });
    const waiting = harness.source(async () => {
      taskContext().secede();
      await new Promise((resolve) => {
        taskContext().signal.addEventListener('abort', resolve);
      });
    });
    const run = harness.start(waiting, [], { devices: device('0') });
    await harness.until(() => harness.seceded.includes(run), 'it to wait');
    const next = harness.start(harness.source(look));
    await harness.end(next);
    expect((harness.results.get(next) as readonly unknown[]).slice(1, 3)).toEqual([{}, undefined]);
  });
});

describe('a process', () => {
  test('is used again for the same devices, and replaced for others', async () => {
    await using harness = new Harness({ functionsIn: 'processes' });
    const fn = harness.source(look);
    const processOf = async (fields: Partial<ExecutorRun>): Promise<unknown> => {
      const run = harness.start(fn, [], fields);
      await harness.end(run);
      return (harness.results.get(run) as readonly unknown[])[0];
    };
    const first = await processOf({ devices: device('0') });
    expect(await processOf({ devices: device('0') })).toBe(first);
    const second = await processOf({ devices: device('1') });
    expect(second).not.toBe(first);
    expect(await processOf({})).not.toBe(second);
    expect(harness.emptied).toEqual([]);
    expect(harness.output.stderr).toBe('');
  });

  test('that is being replaced gives back what waits for it', async () => {
    await using harness = new Harness({ functionsIn: 'processes' });
    const fn = harness.source(look);
    await harness.call(fn);
    const run = harness.start(fn, [], { devices: device('0') });
    expect(harness.executor.withdraw(0, [run])).toEqual({ withdrawn: [run], started: [] });
    expect(await harness.call(fn)).toBeInstanceOf(Array);
  });
});

describe.each(['auto', 'node'] as const)('commands started by %s', (commandSpawner) => {
  test('find their devices in the environment, and amounts of what is no device', async () => {
    const env = { ...process.env, CUDA_VISIBLE_DEVICES: '6,7' };
    await using harness = new Harness({ commandSpawner, env });
    const show = 'echo "$FARM_RESOURCE_GPU/$FARM_RESOURCE_MEM/$CUDA_VISIBLE_DEVICES"';
    const fn = harness.command({ args: ['-c', show] });
    const resources = [
      ['GPU', 1],
      ['MEM', 0.5],
    ] as const;
    const granted = harness.start(fn, [], { resources, devices: device('0') });
    const other = harness.start(fn, [], { resources: [['MEM', 2]] });
    await harness.end(granted);
    await harness.end(other);
    expect(harness.results.get(granted)).toMatchObject({ stdout: '0/0.5/GPU-0\n' });
    // What the worker was given stays visible to tasks that are granted nothing.
    expect(harness.results.get(other)).toMatchObject({ stdout: '/2/6,7\n' });
  });
});
