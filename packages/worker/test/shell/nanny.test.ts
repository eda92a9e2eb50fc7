import { spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';

import { silentLogger } from '@farm/protocol';
import { describe, expect, test, vi } from 'vitest';

import { watchLife } from '../../src/shell/nanny/life-sign.ts';
import { Nanny } from '../../src/shell/nanny/nanny.ts';
import { residentBytes } from '../../src/shell/nanny/resident-memory.ts';
import { RestartPolicy } from '../../src/shell/nanny/restart-policy.ts';
import { until } from './fake-scheduler.ts';

const WORKER = { nthreads: 1, address: 'tcp://h:1' };

/** A process that runs a line of JavaScript in place of a worker. */
function workerThatRuns(script: string): () => ReturnType<typeof spawn> {
  return () => spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'ignore', 'inherit'] });
}

test('a worker that dies is started again with growing delays, five times a minute', () => {
  const policy = new RestartPolicy();
  expect([0, 1_000, 2_000, 3_000, 4_000].map((atMs) => policy.died(atMs))).toEqual([
    100,
    400,
    1_600,
    5_000,
    null,
  ]);
});

test('a worker killed for its memory is started again twenty times in ten minutes', () => {
  const policy = new RestartPolicy();
  const delays = Array.from({ length: 20 }, (_, index) => policy.died(index * 7_000, 'memory'));
  expect(delays.slice(0, 5)).toEqual([100, 400, 1_600, 5_000, 5_000]);
  expect(delays.indexOf(null)).toBe(19);
});

test('deaths of long ago do not count', () => {
  const policy = new RestartPolicy();
  for (let atMs = 0; atMs < 1_000_000; atMs += 16_000) expect(policy.died(atMs)).not.toBeNull();
});

test.each([0, 1, 2])('a worker that decides to end with %i ends the nanny so', async (code) => {
  const spawnWorker = workerThatRuns(`process.exit(${code})`);
  const nanny = new Nanny({
    worker: WORKER,
    isRestarting: true,
    logger: silentLogger,
    spawnWorker,
  });
  nanny.start();
  expect((await nanny.ended).exitCode).toBe(code);
});

test('a worker that crashes is replaced; one that is stopped is not', async () => {
  const pids: (number | undefined)[] = [];
  const spawnWorker = (): ReturnType<typeof spawn> => {
    const child = workerThatRuns('process.stdin.resume()')();
    pids.push(child.pid);
    return child;
  };
  const nanny = new Nanny({
    worker: WORKER,
    isRestarting: true,
    logger: silentLogger,
    spawnWorker,
  });
  nanny.start();
  const [first] = pids;
  process.kill(first ?? -1, 'SIGKILL');
  const second = await until('a second worker', () => pids[1]);
  expect(second).not.toBe(first);
  nanny.stop('test');
  expect(await nanny.ended).toMatchObject({ exitCode: 0 });
  expect(pids).toHaveLength(2);
});

test('a worker that replaces a dead one is told how that died', async () => {
  const told: unknown[] = [];
  const script = 'console.error("out of luck"); process.kill(process.pid, "SIGKILL")';
  const nanny = new Nanny({
    worker: WORKER,
    isRestarting: true,
    logger: silentLogger,
    spawnWorker: ({ previousDeath }) => {
      told.push(previousDeath);
      return spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'ignore', 'pipe'] });
    },
  });
  nanny.start();
  await until('a second worker', () => told[1]);
  nanny.stop('test');
  await nanny.ended;
  expect(told[0]).toBeNull();
  expect(told[1]).toMatchObject({ exitCode: null, signal: 'SIGKILL', logTail: 'out of luck\n' });
});

describe('a worker whose main thread is stuck', () => {
  /** Gives one sign of life, and then spins. */
  const spin = 'process.send({ farm: "alive" }, () => { for (;;); })';
  const spawnStuck = (): ReturnType<typeof spawn> => {
    return spawn(process.execPath, ['-e', spin], { stdio: ['pipe', 'ignore', 'ignore', 'ipc'] });
  };

  test('is killed', async () => {
    const nanny = new Nanny({
      worker: WORKER,
      isRestarting: false,
      logger: silentLogger,
      spawnWorker: spawnStuck,
      frozenMs: 600,
    });
    nanny.start();
    expect(await nanny.ended).toMatchObject({ reason: 'the worker died with signal SIGKILL' });
  });

  test('is not while it is stopped, nor before it has given a sign, nor while it gives some', () => {
    vi.useFakeTimers();
    const child = new EventEmitter();
    const told: string[] = [];
    let isStopped = false;
    // SAFE: no more of it is used.
    const end = watchLife(child as ChildProcess, {
      frozenMs: 60_000,
      onFrozen: () => told.push('frozen'),
      isStopped: () => isStopped,
    });
    vi.advanceTimersByTime(600_000);
    for (let i = 0; i < 20; i++) {
      child.emit('message', { farm: 'alive' });
      vi.advanceTimersByTime(59_000);
    }
    isStopped = true;
    vi.advanceTimersByTime(600_000);
    isStopped = false;
    vi.advanceTimersByTime(59_000);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(1_000);
    expect(told).toEqual(['frozen']);
    vi.advanceTimersByTime(600_000);
    expect(told).toEqual(['frozen']);
    end();
    vi.useRealTimers();
  });
});

test('without restarts the first crash ends it', async () => {
  const spawnWorker = workerThatRuns('process.kill(process.pid, "SIGKILL")');
  const nanny = new Nanny({
    worker: WORKER,
    isRestarting: false,
    logger: silentLogger,
    spawnWorker,
  });
  nanny.start();
  expect(await nanny.ended).toEqual({ exitCode: 1, reason: 'the worker died with signal SIGKILL' });
});

test.runIf(process.platform === 'linux')(
  'a worker that takes more memory than it may is killed',
  async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, error: (message: string) => warnings.push(message) };
    const worker = { ...WORKER, memoryLimitBytes: 150e6 };
    const spawnWorker = workerThatRuns(
      'globalThis.hog = Buffer.alloc(250e6, 1); process.stdin.resume()',
    );
    const nanny = new Nanny({ worker, isRestarting: false, logger, spawnWorker });
    nanny.start();
    expect(await nanny.ended).toMatchObject({ reason: 'the worker was killed for its memory' });
    expect(warnings[0]).toMatch(/more than 95% of its limit/);
    expect(residentBytes(process.pid)).toBeGreaterThan(1e6);
  },
);

test('a worker that wants to be restarted is, and that is no death', async () => {
  let starts = 0;
  const deaths: unknown[] = [];
  const nanny = new Nanny({
    worker: WORKER,
    isRestarting: true,
    logger: silentLogger,
    spawnWorker: ({ previousDeath }) => {
      starts += 1;
      deaths.push(previousDeath);
      // More often than a worker may crash.
      return workerThatRuns(`process.exit(${starts < 8 ? 75 : 0})`)();
    },
  });
  nanny.start();
  expect((await nanny.ended).exitCode).toBe(0);
  expect(starts).toBe(8);
  expect(deaths).toEqual(Array.from({ length: 8 }, () => null));
});
