import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Client, CommandError, arg, asCompleted, command, text } from '@farm/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { Site } from './processes.ts';

// Goal: the whole path on real processes, started as a user starts them.
describe('client, scheduler and two workers as processes', () => {
  let site: Site;
  let client: Client;

  beforeAll(async () => {
    site = await Site.openForAll();
    site.worker('--nthreads', '2', '--resources', 'GPU=1', '--name', 'first');
    site.worker('--nthreads', '2', '--resources', 'GPU=1', '--name', 'second');
    site.scheduler();
    client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(2, { timeoutMs: 20_000 });
  });

  afterAll(async () => {
    await client.close();
    await site[Symbol.asyncDispose]();
  });

  test('map and gather keep the order of the inputs', async () => {
    const inputs = Array.from({ length: 1_000 }, (_, index) => index);
    const futures = client.map((x: number) => x ** 2, inputs);
    expect(await client.gather(futures)).toEqual(inputs.map((x) => x ** 2));
  });

  test('map zips several iterables', async () => {
    const sums = client.map((x: number, y: string) => `${x}${y}`, [1, 2, 3], ['a', 'b', 'c']);
    expect(await client.gather(sums)).toEqual(['1a', '2b', '3c']);
    expect(client.map((x: number) => x, [])).toEqual([]);
  });

  test('futures nest in arguments at any depth', async () => {
    const two = client.submit(() => 2);
    const lists = client.map((x: number) => [x, x + 1], [10, 20]);
    const total = client.submit(
      (input: { list: number[][]; map: Map<string, number>; set: Set<number> }) =>
        input.list.flat().reduce((a, b) => a + b, 0) + (input.map.get('two') ?? 0) + input.set.size,
      { list: lists, map: new Map([['two', two]]), set: new Set([two]) },
    );
    expect(await total.result()).toBe(10 + 11 + 20 + 21 + 2 + 1);
  });

  test('a chain of dependent tasks', async () => {
    let future = client.submit(() => 0);
    for (let step = 0; step < 50; step++) future = client.submit((x: number) => x + 1, future);
    expect(await future.result()).toBe(50);
  });

  test('asCompleted yields in the order of completion and can be fed', async () => {
    const pass = async (name: string, directory: string): Promise<string> => {
      const { existsSync } = await import('node:fs');
      while (!existsSync(`${directory}/open-${name}`)) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return name;
    };
    const open = (name: string): Promise<void> => writeFile(`${site.directory}/open-${name}`, '');
    const seen: string[] = [];
    const directories = Array<string>(3).fill(site.directory);
    const futures = asCompleted(client.map(pass, ['a', 'b', 'c'], directories));
    await open('b');
    for await (const future of futures) {
      seen.push(await future.result());
      if (seen.length === 1) await open('c');
      if (seen.length === 2) await open('a');
      if (seen.length === 3) {
        futures.add(client.submit(pass, 'd', site.directory));
        await open('d');
      }
    }
    expect(seen).toEqual(['b', 'c', 'a', 'd']);
  });

  test('an error crosses with message, name, cause and own fields', async () => {
    const failing = client.submit(() => {
      throw Object.assign(new TypeError('bad input', { cause: new Error('deep') }), {
        code: 'E42',
      });
    });
    const dependent = client.submit((x: number) => x + 1, failing);
    for (const future of [failing, dependent]) {
      const error = await future.exception();
      expect(error).toBeInstanceOf(TypeError);
      expect(error).toMatchObject({
        message: 'bad input',
        code: 'E42',
        cause: { message: 'deep' },
      });
    }
    expect(await client.gather([client.submit(() => 1), failing], { errors: 'skip' })).toEqual([1]);
  });

  test('results larger than a message travel in chunks, between workers too', async () => {
    const big = client
      .with({ workers: ['first'] })
      .submit(() => Float64Array.from({ length: 1_500_000 }, (_, index) => index));
    const sum = client
      .with({ workers: ['second'] })
      .submit((numbers: Float64Array) => numbers.reduce((a, b) => a + b, 0), big);
    expect(await sum.result()).toBe((1_500_000 * 1_499_999) / 2);
    const back = await big.result();
    expect(back).toBeInstanceOf(Float64Array);
    expect(back[1_499_999]).toBe(1_499_999);
  });

  test('commands: argv as it is, captured output, files, exit codes', async () => {
    const odd = ['a b', "it's", '$HOME', '"q"', 'line\nbreak', 'ünï', ''];
    const show = command('printf', ['%s|', ...odd]);
    const shown = await client.submit(show).result();
    expect(shown).toMatchObject({
      exitCode: 0,
      signal: null,
      stdout: odd.map((x) => `${x}|`).join(''),
    });

    const write = command(
      'sh',
      ['-c', 'echo "$1" "$FARM_KEY"; echo oops >&2; exit "$2"', 'sh', arg(0), arg(1)],
      {
        cwd: site.directory,
        stdout: text`out-${arg(0)}.log`,
      },
    );
    const [good, bad] = client.with({ key: 'write' }).map(write, ['x', 'y'], [0, 3]);
    expect(await good?.result()).toMatchObject({ exitCode: 0, stdout: '', stderr: 'oops\n' });
    expect(await readFile(join(site.directory, 'out-x.log'), 'utf8')).toBe('x write-0\n');
    const error = await bad?.exception();
    expect(error).toBeInstanceOf(CommandError);
    expect(error).toMatchObject({ exitCode: 3, stderr: 'oops\n' });
    expect(['first', 'second']).toContain(bad?.worker);
  });

  test('a command that cannot start says which and why', async () => {
    const error = await client.submit(command('no-such-program', [])).exception();
    expect(error).toMatchObject({
      code: 'ERR_SPAWN',
      message: expect.stringContaining('no-such-program') as string,
    });
  });

  test('one GPU a worker: never two GPU tasks on one worker at once', async () => {
    const probe = async (): Promise<[number, number]> => {
      const start = Date.now();
      await new Promise((resolve) => setTimeout(resolve, 100));
      return [start, Date.now()];
    };
    const gpu = client.with({ resources: { GPU: 1 } });
    const futures = Array.from({ length: 8 }, () => gpu.submit(probe));
    const spans = await client.gather(futures);
    const byWorker = new Map<string, [number, number][]>();
    futures.forEach((future, index) => {
      const spansOf = byWorker.get(future.worker ?? '') ?? [];
      spansOf.push(spans[index] ?? [0, 0]);
      byWorker.set(future.worker ?? '', spansOf);
    });
    expect([...byWorker.keys()].toSorted()).toEqual(['first', 'second']);
    for (const list of byWorker.values()) {
      list.sort((a, b) => a[0] - b[0]);
      for (let index = 1; index < list.length; index++) {
        expect(list[index]?.[0]).toBeGreaterThanOrEqual(list[index - 1]?.[1] ?? 0);
      }
    }
  });

  test('a request no worker can meet is explained, not silent', async () => {
    const future = client.with({ resources: { GPU: 5 } }).submit(() => 1);
    const explanation = await client.explain(future);
    expect(explanation.state).toBe('no-worker');
    expect(explanation.workers.map((line) => line.reason).join(' ')).toMatch(/GPU/);
    future.release();
  });

  test('cancel stops a running task and frees its slot', async () => {
    const spinning = client.map(
      (x: number) => {
        for (;;) if (x < 0) return x;
      },
      [1, 2, 3, 4],
    );
    await Promise.all(spinning.map(async (future) => future.cancel('not needed')));
    expect(spinning.map((future) => future.status)).toEqual(Array(4).fill('cancelled'));
    expect(await client.submit(() => 'alive').result()).toBe('alive');
  });

  test('a task over its timeout is stopped and the slot goes on', async () => {
    const error = await client
      .with({ timeoutMs: 200 })
      .submit(() => {
        for (;;);
      })
      .exception();
    expect(error).toMatchObject({ code: 'ERR_TASK_TIMEOUT' });
    expect(await client.submit(() => 'alive').result()).toBe('alive');
  });

  test('retries run a failing task again', async () => {
    const marker = join(site.directory, 'attempts');
    const flaky = client.with({ retries: 2 }).submit(async (path: string) => {
      const { appendFile, readFile: read } = await import('node:fs/promises');
      await appendFile(path, 'x');
      const attempts = (await read(path, 'utf8')).length;
      if (attempts < 3) throw new Error(`attempt ${attempts}`);
      return attempts;
    }, marker);
    expect(await flaky.result()).toBe(3);
  });

  test('groups, prefixes and spans tell how far the work has come', async () => {
    const counted = client.with({ key: 'counted', span: ['count', 'squares'] });
    const halve = (x: number): number => {
      if (x === 0) throw new Error('not this one');
      return x / 2;
    };
    const futures = counted.map(halve, [0, 1, 2, 3, 4]);
    await client.gather(futures, { errors: 'skip' });
    const [group, ...others] = await client.groups(['counted']);
    expect(group).toMatchObject({ fn: 'halve', tasks: { memory: 4, erred: 1, forgotten: 0 } });
    expect(others).toEqual([]);
    expect(group?.bytes).toBeGreaterThan(0);
    const [span] = await client.spans('count');
    expect(span).toMatchObject({ path: ['count'], tasks: { memory: 4, erred: 1 } });
    const { prefixes } = await client.schedulerInfo();
    const prefix = prefixes.find(({ name }) => name === 'halve');
    expect(prefix).toMatchObject({ finished: 4, tasks: { memory: 4, erred: 1 } });
    expect(prefix?.meanMs).toBeGreaterThan(0);
    for (const future of futures) future.release();
    expect(await client.groups(['counted'])).toEqual([]);
  });

  test('the client prints as Dask prints it', async () => {
    const file = JSON.parse(await readFile(site.schedulerFile, 'utf8')) as { address: string };
    expect(String(client)).toContain(`<Client: '${file.address}' processes=2 threads=4, memory=`);
    expect((await client.schedulerInfo()).workers).toHaveLength(2);
  });

  test('everything released leaves nothing behind', async () => {
    const futures = client.map((x: number) => x, [1, 2, 3]);
    await client.gather(futures);
    for (const future of futures) future.release();
    const story = await client.story(futures[0]?.key ?? '');
    expect(story.map((line) => line.to)).toContain('memory');
  });
});
