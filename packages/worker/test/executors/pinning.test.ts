import { describe, expect, test } from 'vitest';

import { findTaskset, hostCpus } from '../../src/shell/pinning/host-cpus.ts';
import { Harness } from './executor-harness.ts';

const CPUS = hostCpus().map(({ cpu }) => String(cpu));
const CAN_PIN = CPUS.length > 0 && findTaskset(process.env['PATH'] ?? '') !== undefined;

/** Where the thread that calls it may run. */
async function allowed(): Promise<string | undefined> {
  const { readFileSync: read } = await import('node:fs');
  return /^Cpus_allowed_list:\s*(\S+)/m.exec(read('/proc/thread-self/status', 'utf8'))?.[1];
}

async function allowedOfChild(): Promise<string> {
  const { execFileSync } = await import('node:child_process');
  return execFileSync('sed', ['-n', 's/^Cpus_allowed_list:\\s*//p', '/proc/self/status'], {
    encoding: 'utf8',
  });
}

/** Two slots: one is bound to the first CPU, one to the last. */
const slotCpus = [CPUS[0] ?? '', CPUS.at(-1) ?? ''];

describe.skipIf(!CAN_PIN)('the CPUs of a slot', () => {
  test.each(['threads', 'processes'] as const)('bind functions in %s', async (functionsIn) => {
    await using harness = new Harness({ functionsIn, slots: 2, slotCpus });
    const self = harness.source(allowed);
    const child = harness.source(allowedOfChild);
    for (const [slot, cpus] of slotCpus.entries()) {
      const runs = [harness.start(self, [], { slot }), harness.start(child, [], { slot })];
      for (const run of runs) await harness.end(run);
      expect(runs.map((run) => harness.results.get(run))).toEqual([cpus, `${cpus}\n`]);
    }
    // The worker itself may still run anywhere.
    expect(hostCpus().map(({ cpu }) => String(cpu))).toEqual(CPUS);
  });

  test.each(['auto', 'node'] as const)('bind commands started by %s', async (commandSpawner) => {
    await using harness = new Harness({ commandSpawner, slots: 2, slotCpus });
    const fn = harness.command({
      args: ['-c', "sed -n 's/^Cpus_allowed_list:.//p' /proc/self/status"],
    });
    for (const [slot, cpus] of slotCpus.entries()) {
      const run = harness.start(fn, [], { slot });
      await harness.end(run);
      expect(harness.results.get(run)).toMatchObject({ stdout: `${cpus}\n` });
    }
  });

  test('that are not there are told, and the thread runs without', async () => {
    await using harness = new Harness({ slotCpus: ['99999'] });
    expect(await harness.call(harness.source(allowed))).toBeTypeOf('string');
    await harness.until(() => harness.output.stderr !== '', 'a line about it');
    expect(harness.output.stderr).toMatch(/farm: slot 0: not bound to CPUs 99999: /);
  });
});
