import { readFileSync } from 'node:fs';

import { Client } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import { expect, test } from 'vitest';

/** Whether a process may ask for huge pages here, and its C library can. */
function offersHugePages(): boolean {
  try {
    const enabled = readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'utf8');
    const report: unknown = process.report.getReport();
    const [, minor = '0'] = /"glibcVersionRuntime":"2\.(\d+)/.exec(JSON.stringify(report)) ?? [];
    return enabled.includes('[madvise]') && Number(minor) >= 35;
  } catch {
    return false;
  }
}

const cases = [
  { nanny: true, executor: 'threads' },
  { nanny: false, executor: 'threads' },
  { nanny: false, executor: 'processes' },
] as const;

test.runIf(offersHugePages()).each(cases)(
  'large arrays lie in huge pages, and no task sees why ($executor, nanny: $nanny)',
  { timeout: 60_000 },
  async ({ nanny, executor }) => {
    await using cluster = await LocalCluster.start({
      workers: 1,
      threadsPerWorker: 1,
      nanny,
      dashboardAddress: null,
    });
    await using client = new Client(cluster);
    const seen = await client
      .with({ executor })
      .submit(() => {
        const { readFileSync: read } = process.getBuiltinModule('node:fs');
        const array = new Float64Array(8_388_608).fill(1);
        const [, kilobytes] = /AnonHugePages: +(\d+)/.exec(
          read('/proc/self/smaps_rollup', 'utf8'),
        ) ?? [undefined, '0'];
        return {
          hugeBytes: Number(kilobytes) * 1024,
          bytes: array.byteLength,
          tunables: process.env['GLIBC_TUNABLES'],
          names: Object.keys(process.env).filter((name) => name.includes('TUNABLES')),
        };
      })
      .result();
    expect(seen.hugeBytes).toBeGreaterThan(0.9 * seen.bytes);
    expect(seen.tunables).toBe(process.env['GLIBC_TUNABLES']);
    expect(seen.names).not.toContain('FARM_TUNABLES_BEFORE');
  },
);
