import { expect, test } from 'vitest';

import { findTaskset, hostCpus } from '../../src/shell/pinning/host-cpus.ts';
import { runWorkerProgram, type WorkerPlan } from '../../src/shell/options.ts';

const ALLOCATION = { cores: 4, memoryBytes: 64e9 };

interface Outcome {
  readonly plan: WorkerPlan | undefined;
  readonly exitCode: number | undefined;
  readonly printed: string;
}

async function given(
  line: string | readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  let plan: WorkerPlan | undefined;
  let exitCode: number | undefined;
  let printed = '';
  const print = async (text: string): Promise<void> => {
    printed += text;
  };
  const host = {
    argv: typeof line === 'string' ? line.split(' ').filter((word) => word !== '') : line,
    env,
    print,
    printError: print,
    exit: (code: number) => {
      exitCode = code;
    },
  };
  const keepPlan = async (made: WorkerPlan): Promise<number> => {
    plan = made;
    return 0;
  };
  const before = process.exitCode;
  await runWorkerProgram(keepPlan, host, ALLOCATION);
  process.exitCode = before;
  return { plan, exitCode, printed };
}

test.each([
  ['', /which scheduler\? give --scheduler-file/],
  ['---interface ib0 h:1', /unknown option ---interface, did you mean --interface\?/],
  ['h:1 --memory-limit 5XB', /--memory-limit: "5XB" is not a memory limit/],
  ['h:1 --memory-limit -1', /--memory-limit/],
  ['h:1 --resources GPU=x', /--resources: "GPU=x": amount must be a number/],
  ['h:1 --resources GPU', /--resources: "GPU"/],
  ['h:1 --resources GPU=[]', /--resources: "GPU=\[\]": names no device/],
  ['h:1 --gpu-vendor acme', /--gpu-vendor: .*nvidia, amd, intel and auto/],
  ['h:1 --interface ib7', /--interface: there is no network interface "ib7"; .*\blo\b/],
  ['h:1 --nthreads -1', /--nthreads/],
  ['h:1 --nthreads two', /--nthreads/],
  ['h:1 --executor fibers', /--executor: .*threads and processes/],
  ['h:1 --nworkers 0', /--nworkers: "0" starts no worker/],
  ['h:1 --nworkers -9', /--nworkers: .*write at least -4/],
  ['h:1 --death-timeout soon', /--death-timeout: "soon" is not a duration/],
  ['h:1 --drain-timeout soon', /--drain-timeout: "soon" is not a duration/],
  ['h:1 --lifetime-restart', /--lifetime-restart: give a --lifetime too/],
  ['h:1 --lifetime-stagger 4m', /--lifetime-stagger: give a --lifetime too/],
  ['h:1 --lifetime 4m --lifetime-stagger 4m', /--lifetime-stagger: it has to be shorter/],
  ['h:1 --lifetime 4m --lifetime-restart --no-nanny', /--lifetime-restart: with --no-nanny/],
  ['h:1 --worker-port 70000', /--worker-port/],
  ['h:1 --worker-port 9000:9001 --nworkers 3', /--worker-port: 3 workers need as many ports/],
  ['h:1 --host a --interface lo', /--host and --interface exclude each other/],
  ['h:1 --nanny --no-nanny', /--nanny and --no-nanny contradict/],
  ['h:1 --scheduler-file s.json', /ADDRESS and --scheduler-file exclude each other/],
  ['h:1 h:2', /unexpected argument "h:2"/],
  ['http://h:1', /ADDRESS: .*http/],
  ['h:1 --nprocs 2', /unknown option --nprocs, did you mean --nworkers\?/],
  ['h:1 --threads 2', /unknown option --threads, did you mean --nthreads\?/],
  ['h:1 --dashboard-prefix a', /unknown option --dashboard-prefix; farm-worker --help/],
])('%j is refused with one line and exit code 2', async (line, message) => {
  const { exitCode, printed, plan } = await given(line);
  expect(printed).toMatch(message);
  expect(printed.trimEnd()).not.toContain('\n');
  expect(exitCode).toBe(2);
  expect(plan).toBeUndefined();
});

test('a name of control characters is refused', async () => {
  const { exitCode, printed } = await given(['h:1', '--name', 'a\nb']);
  expect([exitCode, printed]).toEqual([2, expect.stringContaining('--name')]);
});

test('by default one worker has all cores, the whole memory and a nanny', async () => {
  const { plan } = await given('h:1');
  expect(plan).toEqual({
    isNannied: true,
    warnings: [],
    workers: [
      {
        address: 'tcp://h:1',
        executor: 'threads',
        nthreads: 4,
        resources: [],
        commands: { prefix: [] },
        devices: [],
        gpuVendor: 'auto',
        memoryLimitBytes: 64e9,
        deathTimeoutMs: 300_000,
        drainTimeoutMs: 20_000,
        heartbeatTimeoutMs: 15_000,
        ports: [0],
        nanny: true,
      },
    ],
  });
});

test('memory of the host is not read where it is not wanted', async () => {
  const { plan } = await given('h:1 --no-host-memory');
  expect(plan?.workers[0]).toMatchObject({ hostMemory: false });
});

test('several workers share cores and memory, and get numbered names', async () => {
  const { plan } = await given(
    '--scheduler-file s.json --nworkers 3 --name w --resources GPU=1,MEM=10e9 --no-nanny ' +
      '--worker-port 9000:9002',
  );
  expect(plan?.isNannied).toBe(false);
  expect(plan?.workers.map(({ name, nthreads }) => [name, nthreads])).toEqual([
    ['w-0', 2],
    ['w-1', 1],
    ['w-2', 1],
  ]);
  expect(plan?.workers[0]).toMatchObject({
    schedulerFile: 's.json',
    memoryLimitBytes: 32e9,
    ports: [9000, 9001, 9002],
    resources: [
      ['GPU', 1],
      ['MEM', 10e9],
    ],
  });
});

test('several workers have GPUs of their own, and a warning tells of those that are missing', async () => {
  const env = { CUDA_VISIBLE_DEVICES: '4,5,6' };
  const { plan } = await given('h:1 --nworkers 4 --nthreads 1 --resources GPU=1,MEM=2', env);
  expect(plan?.workers.map(({ devices }) => devices?.flatMap(({ ids }) => ids))).toEqual([
    ['0'],
    ['1'],
    ['2'],
    ['0'],
  ]);
  expect(plan?.warnings).toEqual([
    'GPU=1 for each of 4 workers, and 3 GPUs are visible in CUDA_VISIBLE_DEVICES=4,5,6: ' +
      'they will share',
  ]);
});

test('slots of all workers are bound to CPUs, where that is asked for and can be done', async () => {
  const cpus = hostCpus().map(({ cpu }) => String(cpu));
  const canPin = cpus.length > 0 && findTaskset(process.env['PATH'] ?? '') !== undefined;
  const line = `h:1 --pin --nthreads ${cpus.length} --nworkers 2`;
  const { plan } = await given(line, { PATH: process.env['PATH'] ?? '' });
  expect(plan?.workers.map((worker) => worker.slotCpus)).toEqual(
    canPin ? [cpus, cpus] : [undefined, undefined],
  );

  const without = await given('h:1 --pin', { PATH: '/nowhere' });
  expect(without.plan?.workers[0]?.slotCpus).toBeUndefined();
  expect(without.plan?.warnings).toEqual([expect.stringMatching(/^--pin has no effect: /)]);
});

test('more threads than the affinity mask has CPUs are warned of', async () => {
  const { plan } = await given('h:1 --nworkers 3 --nthreads 2');
  expect(plan?.warnings).toEqual(['6 threads on 4 cores: they will share']);
});

test('devices have the names they are given', async () => {
  const { plan } = await given('h:1 --resources GPU=[MIG-41ab,GPU-8f0c],MEM=10e9');
  expect(plan?.workers[0]).toMatchObject({
    resources: [
      ['GPU', 2],
      ['MEM', 10e9],
    ],
    devices: [{ name: 'GPU', ids: ['MIG-41ab', 'GPU-8f0c'], amount: 2 }],
    gpuVendor: 'auto',
  });
});

test.each([
  ['--nthreads 0', [4]],
  ['--nthreads auto --nworkers 2', [2, 2]],
  ['--nworkers -1', [1, 1, 1, 1]],
  ['--nworkers auto', [1, 1, 1, 1]],
  ['--nthreads 2 --nworkers auto', [2, 2]],
])('%s starts workers of %j threads', async (line, threads) => {
  const { plan } = await given(`h:1 ${line}`);
  expect(plan?.workers.map(({ nthreads }) => nthreads)).toEqual(threads);
});

test.each([
  ['--memory-limit 0', null],
  ['--memory-limit 0.5', 32e9],
  ['--memory-limit 5GB', 5e9],
  ['--memory-limit 5GiB', 5 * 2 ** 30],
  ['--memory-limit 91GB', 64e9],
])('%s is a limit of %s', async (line, limitBytes) => {
  const { plan } = await given(`h:1 ${line}`);
  expect(plan?.workers[0]?.memoryLimitBytes).toBe(limitBytes);
});

test.each(['60', '60s', '1m'])('--death-timeout %s is a minute', async (text) => {
  const { plan } = await given(`h:1 --death-timeout ${text}`);
  expect(plan?.workers[0]?.deathTimeoutMs).toBe(60_000);
});

test('what does not fit the machine is warned of', async () => {
  const { plan } = await given('h:1 --nthreads 5 --memory-limit 512GB');
  expect(plan?.warnings).toEqual([
    expect.stringContaining('5 threads on 4 cores'),
    expect.stringContaining('512GB is more than there is'),
  ]);
});

test('the dashboard flags of Dask are taken, and one of them is warned of', async () => {
  expect((await given('h:1 --no-dashboard')).plan?.warnings).toEqual([]);
  expect((await given('h:1 --dashboard')).plan?.warnings).toEqual([
    expect.stringContaining('workers serve no dashboard'),
  ]);
});

test('every option has a twin in the environment, which the command line overrules', async () => {
  const env = {
    FARM_SCHEDULER_FILE: 'env.json',
    FARM_WORKER_NTHREADS: '3',
    FARM_WORKER_NANNY: 'false',
    FARM_WORKER_NAME: 'env',
  };
  const { plan } = await given('--nthreads 2', env);
  expect(plan?.workers).toMatchObject([{ schedulerFile: 'env.json', nthreads: 2, name: 'env' }]);
  expect(plan?.isNannied).toBe(false);
  expect((await given('h:1', env)).plan?.workers[0]).toMatchObject({ address: 'tcp://h:1' });
});

test('--help says what is not part of a limit, and has no effect', async () => {
  const { printed, exitCode } = await given('--help');
  const text = printed.replace(/\s+/g, ' ');
  expect(text).toContain('What commands take is not part of it');
  expect(text).toContain('workers serve no dashboard');
  expect(text).toContain(
    '(default: host name, process id and a random end, env: FARM_WORKER_NAME)',
  );
  expect(exitCode).toBe(0);
});
