import { existsSync } from 'node:fs';

import { expect, test } from 'vitest';

import { Site, until } from '../../packages/cluster/test/processes.ts';
import { runScript } from '../testing/run-script.ts';

test(
  'each worker computes one part, and shutdown ends every process',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    const scheduler = site.scheduler();
    const gpu = ['--nthreads', '2', '--resources', 'GPU=1', '--memory-limit', '1GB'];
    const workers = [site.worker(...gpu), site.worker(...gpu), site.worker(...gpu)];
    await until('the file exists', () => existsSync(site.schedulerFile));

    // Not a multiple of three: the last part is larger.
    const run = await runScript('pi/pi.ts', ['scheduler.json', '400001', '3'], {
      cwd: site.directory,
    });
    expect(run).toMatchObject({ exitCode: 0, stderr: '' });
    const [about = '', ...runs] = run.stdout.trimEnd().split('\n');
    expect(about).toMatch(
      /^<Client: 'tcp:\/\/127\.0\.0\.1:\d+' processes=3 threads=6, memory=2\.79 GiB>$/,
    );
    expect(runs).toHaveLength(5);
    for (const [index, line] of runs.entries()) {
      const fields = line.split('\t\t');
      expect(fields[0]).toBe(`Run ${index}`);
      expect(fields[1]).toBe('Num samples: 4.00e+5');
      // The standard deviation of the estimate is 0.0026.
      expect(Math.abs(Number(fields[2]?.replace('Estimate: ', '')) - Math.PI)).toBeLessThan(0.03);
      expect(fields[4]).toBe('Workers: 3');
    }
    expect(await scheduler.ended()).toBe(0);
    for (const worker of workers) expect(await worker.ended()).toBe(0);
    expect(existsSync(site.schedulerFile)).toBe(false);
  },
);
