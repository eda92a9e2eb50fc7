/**
 * A slot's spawner is given commands before those in front of them have ended. Whether it begins
 * them is known only to it: what is taken back, stopped or lost with it must be neither run nor
 * blamed, and what has begun must be neither run again nor forgotten.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { SpawnerPool } from '../../src/shell/executors/commands/spawner/spawner-pool.ts';
import { aDirectory, isRunning, result } from './command-harness.ts';
import { cancelled, Harness } from './executor-harness.ts';

const pool = new SpawnerPool({ slots: 1 });
const hasSpawner = (await pool.get(0)) !== undefined;
await pool.close();

const OPEN = 'while [ ! -e open ]; do sleep 0.01; done';

interface Line {
  readonly harness: Harness;
  readonly directory: string;
  /** Gives these scripts to slot 0, together. */
  line(...scripts: string[]): number[];
  /** What scripts wrote to `log`, by line. */
  log(): string[];
  /** Ends what waits for it. */
  open(): void;
}

/** An executor whose spawner is there, since only such a one takes commands ahead. */
async function aLine(env?: NodeJS.ProcessEnv): Promise<Line> {
  const directory = aDirectory();
  const harness = new Harness({ cwd: directory, ...(env === undefined ? {} : { env }) });
  await result(harness, harness.command({ file: 'true' }));
  const shell = harness.command({ args: ['-c', { arg: 0 }] });
  return {
    harness,
    directory,
    line: (...scripts) => {
      const runs = scripts.map((script) => harness.aRun([script]));
      harness.executor.execute(0, shell, runs);
      return runs.map(({ run }) => run);
    },
    log: () => {
      const path = join(directory, 'log');
      return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
    },
    open: () => writeFileSync(join(directory, 'open'), ''),
  };
}

/** Keeps this process from hearing anything until a file is there. */
function blockUntil(path: string): void {
  execFileSync('sh', ['-c', 'while [ ! -e "$0" ]; do sleep 0.01; done', path]);
}

describe.skipIf(!hasSpawner)('commands given ahead', () => {
  test('run one at a time, in order', async () => {
    const { harness, line, log } = await aLine();
    await using _ = harness;
    const scripts = Array.from(
      { length: 40 },
      (__, index) => `mkdir one || exit 9; echo ${index} >> log; rmdir one`,
    );
    const runs = line(...scripts);
    await harness.until(() => harness.order.length === 41, 'all ends');
    expect(harness.order.slice(1)).toEqual(runs);
    expect(harness.failures.size).toBe(0);
    expect(log()).toEqual(scripts.map((__, index) => String(index)));
  });

  test('begin while the worker is busy with something else', async () => {
    const { harness, directory, line } = await aLine();
    await using _ = harness;
    const runs = line('true', 'true', 'touch done');
    // The orders leave in the next turn of the event loop.
    await new Promise(setImmediate);
    blockUntil(join(directory, 'done'));
    expect(harness.order).toHaveLength(1);
    await harness.until(() => harness.order.length === 4, 'all ends');
    expect(harness.order.slice(1)).toEqual(runs);
  });

  test('are told how long they took themselves', async () => {
    const { harness, line, open } = await aLine();
    await using _ = harness;
    const [long = 0, short = 0] = line(OPEN, 'true');
    await harness.until(() => harness.executor.executing().includes(long), 'the first to execute');
    const startMs = performance.now();
    await harness.until(() => performance.now() - startMs > 100, 'a while to pass');
    open();
    await harness.end(short);
    expect(harness.durationsUs.get(long)).toBeGreaterThan(100_000);
    expect(harness.durationsUs.get(short)).toBeLessThan(harness.durationsUs.get(long) ?? 0);
  });

  test('are taken back where they have not begun, and never run', async () => {
    const { harness, line, log, open } = await aLine();
    await using _ = harness;
    const [first = 0, second = 0, third = 0, fourth = 0] = line(
      `echo 1 >> log; ${OPEN}`,
      'echo 2 >> log',
      'echo 3 >> log',
      'echo 4 >> log',
    );
    await harness.until(() => log().length === 1, 'the first to begin');
    expect(harness.executor.withdraw(0, [first, second, fourth, 99])).toEqual({
      withdrawn: [],
      started: [first, 99],
    });
    await harness.until(() => harness.withdrawn.length === 2, 'the answers');
    expect(harness.withdrawn).toEqual([second, fourth]);
    open();
    await harness.end(third);
    expect(log()).toEqual(['1', '3']);
    expect(harness.order.slice(1)).toEqual([first, third]);
    expect(harness.started).toEqual([]);
  });

  test('are each taken back or run, never both, however the two race', async () => {
    const { harness, line, log } = await aLine();
    await using _ = harness;
    const ran: string[] = [];
    for (let round = 0; round < 30; round++) {
      const runs = line(...Array.from({ length: 8 }, (__, at) => `echo ${8 * round + at} >> log`));
      const done = (): number => 1 + ran.length;
      await harness.until(() => harness.order.length > done() + (round % 5), 'some to end');
      const { withdrawn, started } = harness.executor.withdraw(0, runs);
      expect(started.every((run) => runs.includes(run))).toBe(true);
      const taken = new Set(withdrawn);
      const isOver = (run: number): boolean =>
        harness.results.has(run) || taken.has(run) || harness.withdrawn.includes(run);
      await harness.until(() => runs.every(isOver), 'an end or an answer for each');
      for (const [at, run] of runs.entries()) {
        const isTaken = taken.has(run) || harness.withdrawn.includes(run);
        expect(harness.results.has(run)).toBe(!isTaken);
        if (!isTaken) ran.push(String(8 * round + at));
      }
    }
    expect(log()).toEqual(ran);
    expect(harness.withdrawn.length).toBeGreaterThan(0);
  });

  test('go back when the one in front is stopped, and the slot is clean', async () => {
    const { harness, line, log } = await aLine();
    await using _ = harness;
    const [first = 0, second = 0, third = 0] = line(
      'echo 1 >> log; exec sleep 1000',
      'echo 2 >> log',
      'echo 3 >> log',
    );
    await harness.until(() => log().length === 1, 'the first to begin');
    expect(harness.executor.interrupt(0, first, cancelled())).toBe(true);
    await harness.until(() => harness.emptied.length === 1, 'the slot to be emptied');
    expect(harness.emptied[0]).toMatchObject({
      failed: { run: first, failure: { code: 'ERR_CANCELLED' } },
      unstarted: [second, third],
    });
    expect(harness.executor.executing()).toEqual([]);
    const [fourth = 0] = line('echo 4 >> log');
    await harness.end(fourth);
    expect(log()).toEqual(['1', '4']);
  });

  test('are stopped without the one in front, where they have not begun', async () => {
    const { harness, line, log, open } = await aLine();
    await using _ = harness;
    const [first = 0, second = 0, third = 0] = line(
      `echo 1 >> log; ${OPEN}`,
      'echo 2 >> log',
      'echo 3 >> log',
    );
    await harness.until(() => log().length === 1, 'the first to begin');
    harness.executor.interrupt(0, second, cancelled());
    expect((await harness.failureOf(second)).code).toBe('ERR_CANCELLED');
    open();
    await harness.end(third);
    expect(harness.order.slice(1)).toEqual([second, first, third]);
    expect(log()).toEqual(['1', '3']);
  });

  test('go on where the one in front had ended before it could be stopped', async () => {
    const { harness, directory, line, open } = await aLine();
    await using _ = harness;
    const [first = 0, second = 0] = line('true', `touch begun; ${OPEN}; exit 0`);
    await new Promise(setImmediate);
    blockUntil(join(directory, 'begun'));
    // Its end has not been heard of.
    expect(harness.executor.interrupt(0, first, cancelled())).toBe(true);
    await harness.end(first);
    expect(harness.results.has(first)).toBe(true);
    expect(harness.executor.executing()).toEqual([second]);
    open();
    await harness.end(second);
    expect(harness.results.has(second)).toBe(true);
    expect(harness.emptied).toEqual([]);
  });

  test('find the environment as it is when they begin', async () => {
    const env: NodeJS.ProcessEnv = { ...process.env, WORD: 'old' };
    const { harness, line, log, open } = await aLine(env);
    await using _ = harness;
    const [, second = 0] = line(`echo $WORD >> log; ${OPEN}`, 'echo $WORD >> log');
    await harness.until(() => log().length === 1, 'the first to begin');
    env['WORD'] = 'new';
    harness.executor.setEnvironment({ WORD: 'new' });
    open();
    await harness.end(second);
    expect(log()).toEqual(['old', 'new']);
  });

  test.each([1, 3])(
    'run again when their spawner dies; only the one that had begun fails, and not the %i before',
    async (count) => {
      const { harness, line, log } = await aLine();
      await using _ = harness;
      const before = Array.from({ length: count }, (__, index) => `echo ${index} >> log`);
      const behind = ['a', 'b', 'c', 'd'].map((name) => `echo ${name} >> log`);
      const runs = line(...before, 'echo fatal >> log; kill -9 $PPID', ...behind);
      await harness.until(() => harness.order.length === 1 + runs.length, 'all ends');
      const fatal = runs[count] ?? 0;
      expect([...harness.failures.keys()]).toEqual([fatal]);
      const failure = harness.failures.get(fatal);
      expect(failure?.code).toBe('ERR_INTERNAL');
      expect(failure?.message).toContain('was ended by signal SIGKILL; the command was killed');
      // Ends that the spawner had seen are told, though it may not have come to that.
      const others = runs.filter((run) => run !== fatal);
      expect(others.filter((run) => !harness.results.has(run))).toEqual([]);
      const numbers = before.map((__, index) => String(index));
      expect(log()).toEqual([...numbers, 'fatal', 'a', 'b', 'c', 'd']);
      expect(harness.emptied).toEqual([]);
    },
  );

  test('that are asked for as their spawner dies are given back', async () => {
    const { harness, line, log, open } = await aLine();
    await using _ = harness;
    const [first = 0, second = 0] = line(`echo $PPID $$ >> log; ${OPEN}; exit 0`, 'echo 2 >> log');
    await harness.until(() => log().length === 1, 'the first to begin');
    const [spawner = 0, shell = 0] = log()[0]?.split(' ').map(Number) ?? [];
    process.kill(spawner, 'SIGKILL');
    harness.executor.withdraw(0, [second]);
    await harness.end(first);
    expect(harness.failures.get(first)?.code).toBe('ERR_INTERNAL');
    // Though the spawner died before it told that the command runs.
    await harness.until(() => !isRunning(shell), 'the command to be gone');
    await harness.until(() => harness.withdrawn.length === 1, 'the answer');
    expect(harness.withdrawn).toEqual([second]);
    open();
    expect(log()).toHaveLength(1);
  });

  test('end with the executor, begun or not', async () => {
    const { harness, line, log } = await aLine();
    line('echo $$ >> log; exec sleep 1000', 'echo 2 >> log');
    await harness.until(() => log().length === 1, 'the first to begin');
    await harness.executor.close();
    expect(log()).toHaveLength(1);
    expect(isRunning(Number(log()[0]))).toBe(false);
    expect(harness.order).toHaveLength(1);
  });
});
