/** Goal: plugins of a real scheduler are loaded from its command line and by clients. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { Client } from '@farm/client';
import { expect, test } from 'vitest';

import { Site, until } from './processes.ts';

const PLUGIN = `
import { appendFileSync } from 'node:fs';
import type { SchedulerPlugin } from '@farm/scheduler';
export default function make([file = '', name = '']: readonly string[]): SchedulerPlugin {
  const note = (text: string): void => appendFileSync(file, text + '\\n');
  return {
    name,
    start: ({ id }) => note('start ' + id.split('-')[0]),
    addWorker: (worker) => note('worker ' + worker.name),
    submit: ({ fn, count }) => note('submit ' + fn + ' ' + count),
    transition: ({ to }) => { if (to === 'memory') throw new Error('I dislike ' + to); },
    close: () => note('close'),
  };
}
`;

async function lines(path: string): Promise<string[]> {
  return (await readFile(path, 'utf8')).trim().split('\n');
}

test('a plugin of --preload sees a farm at work, and survives what it throws', async () => {
  await using site = await Site.open();
  await writeFile(join(site.directory, 'plugin.ts'), PLUGIN);
  const args = ['--preload', './plugin.ts', '--preload-argv', 'seen', '--preload-argv=watcher'];
  const scheduler = site.scheduler(...args);
  site.worker('--name', 'w', '--no-nanny');
  const asked = join(site.directory, 'asked');
  {
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1);
    const double = (x: number): number => 2 * x;
    expect(await client.gather(client.map(double, [1, 2, 3]))).toEqual([2, 4, 6]);
    const module = pathToFileURL(join(site.directory, 'plugin.ts'));
    const options = { name: 'late', args: [asked, 'ignored'] };
    const noneThere: unknown = expect.stringContaining('none.ts cannot be loaded');
    expect(await client.registerPlugin(module, options)).toBe(true);
    expect(await client.registerPlugin(module, options)).toBe(false);
    await expect(client.registerPlugin(join(site.directory, 'none.ts'))).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: noneThere,
    });
    await expect(client.registerPlugin('./plugin.ts')).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
    });
    expect(await client.submit(double, 4).result()).toBe(8);
    expect(await client.unregisterPlugin('late')).toBe(true);
    expect(await client.unregisterPlugin('late')).toBe(false);
    expect(await lines(asked)).toEqual(['start Scheduler', 'submit double 1', 'close']);
    await client.shutdown();
  }
  expect(await scheduler.ended()).toBe(0);
  expect(await lines(join(site.directory, 'seen'))).toEqual([
    'start Scheduler',
    'worker w',
    'submit double 3',
    'submit double 1',
    'close',
  ]);
  expect(await lines(asked)).toEqual(['start Scheduler', 'submit double 1', 'close']);
  expect(scheduler.log).toContain('plugin watcher threw in transition: Error: I dislike memory');
});

test('a scheduler whose plugin cannot be loaded says so and does not start', async () => {
  await using site = await Site.open();
  const scheduler = site.scheduler('--preload', './none.ts');
  expect(await scheduler.ended()).toBe(1);
  await until('the log is complete', () => scheduler.log.includes('./none.ts cannot be loaded'));
});
