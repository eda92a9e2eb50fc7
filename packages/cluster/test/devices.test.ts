import { Client, command } from '@farm/client';
import { taskContext } from '@farm/worker/task';
import { expect, test } from 'vitest';

import { Site } from './processes.ts';

// Goal: tasks that are granted GPUs find the ones that are theirs, among those a batch system gave.

const TIMEOUT_MS = 60_000;

/** Where two tasks are to meet, which only tasks that run at the same time can. */
async function find(mine: string, other: string): Promise<string> {
  const { existsSync, writeFileSync } = await import('node:fs');
  writeFileSync(mine, '');
  for (let waited = 0; !existsSync(other); waited += 20) {
    if (waited > 20_000) throw new Error('the other task did not come');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { FARM_RESOURCE_GPU: farm, CUDA_VISIBLE_DEVICES: cuda } = process.env;
  return [taskContext().devices['GPU']?.join(), farm, cuda].join(' ');
}

test('tasks of a worker have GPUs of their own', { timeout: TIMEOUT_MS }, async () => {
  process.env['CUDA_VISIBLE_DEVICES'] = '4,GPU-8f0c';
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '3', '--no-nanny', '--resources', 'GPU=2');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  const gpu = client.with({ resources: { GPU: 1 } });
  const at = (name: string): string => `${site.directory}/${name}`;
  const one = gpu.submit(find, at('a'), at('b'));
  const two = gpu.submit(find, at('b'), at('a'));
  const found = [await one.result(), await two.result()];
  expect(found.toSorted()).toEqual(['0 0 4', '1 1 GPU-8f0c']);

  const show = command('sh', ['-c', 'echo "$FARM_RESOURCE_GPU $CUDA_VISIBLE_DEVICES"'], {
    name: 'show',
  });
  const both = await client
    .with({ resources: { GPU: 2 } })
    .submit(show)
    .result();
  expect(both.stdout).toBe('0,1 4,GPU-8f0c\n');
});

test('shares of GPUs run on one device each', { timeout: TIMEOUT_MS }, async () => {
  process.env['CUDA_VISIBLE_DEVICES'] = '4,5';
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '3', '--no-nanny', '--resources', 'GPU=[0,MIG-41ab]');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  const half = client.with({ resources: { GPU: 0.5 } });
  const at = (name: string): string => `${site.directory}/${name}`;
  const found = await client.gather([
    half.submit(find, at('a'), at('c')),
    half.submit(find, at('b'), at('a')),
    client.with({ resources: { GPU: 1 } }).submit(find, at('c'), at('b')),
  ]);
  expect(found.toSorted()).toEqual(['0 0 4', '0 0 4', 'MIG-41ab MIG-41ab MIG-41ab']);
});
