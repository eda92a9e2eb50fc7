import { existsSync } from 'node:fs';

import { Client } from '@farm/client';
import { expect, test } from 'vitest';

import { Site, until } from '../../packages/cluster/test/processes.ts';
import { runScript } from '../testing/run-script.ts';

test('prints the cluster in a line and ends by itself', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  const scheduler = site.scheduler();
  const flags = ['--nthreads', '4', '--memory-limit', '2GB', '--nanny', '--death-timeout', '60'];
  for (let index = 0; index < 4; index++) site.worker(...flags);
  await until('the file exists', () => existsSync(site.schedulerFile));
  await using observer = new Client({ schedulerFile: site.schedulerFile });
  await observer.waitForWorkers(4, { timeoutMs: 20_000 });

  const run = await runScript('connect/connect.ts', ['scheduler.json'], { cwd: site.directory });
  expect(run).toMatchObject({ exitCode: 0, stderr: '' });
  expect(run.stdout).toMatch(
    /^client information {2}<Client: 'tcp:\/\/127\.0\.0\.1:\d+' processes=4 threads=16, memory=7\.45 GiB>\nDone!\n$/,
  );
  expect(scheduler.child.exitCode).toBe(null);
  expect((await observer.schedulerInfo()).workers).toHaveLength(4);
});

test('says how to call it', async () => {
  await using site = await Site.open();
  const run = await runScript('connect/connect.ts', [], { cwd: site.directory });
  expect(run).toMatchObject({
    exitCode: 2,
    stdout: '',
    stderr: 'usage: connect.ts SCHEDULER_FILE\n',
  });
});
