import { randomBytes } from 'node:crypto';
import { appendFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, onTestFinished, test } from 'vitest';

import { collectGarbage } from '../../src/shell/collect-garbage.ts';
import { SHARED_BYTES_MIN, Store } from '../../src/shell/data/store.ts';
import { until } from './fake-scheduler.ts';

const EMPTY = new Uint8Array(0);

async function aStore(): Promise<{ readonly store: Store; readonly directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'farm-store-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return { store: new Store(directory), directory };
}

test('a store that is garbage leaves others that still hear what was collected', async () => {
  const others = [1].map((task) => {
    const store = new Store();
    store.set(task, new Uint8Array(5_000_000));
    store.drop([task]);
    return store;
  });
  // What it had is gone, and it is itself before it hears of that.
  collectGarbage();
  others.length = 0;
  collectGarbage();
  collectGarbage();
  const store = new Store();
  store.set(1, new Uint8Array(5_000_000));
  store.drop([1]);
  expect(store.givenUpBytes).toBe(5_000_000);
  await until('it hears of it', () => {
    collectGarbage();
    return store.givenUpBytes === 0 || undefined;
  });
});

test('keeps values by task and counts their bytes, also of those replaced and dropped', () => {
  const store = new Store();
  store.set(1, new Uint8Array(10));
  store.set(2, new Uint8Array(5));
  store.set(1, new Uint8Array(3));
  expect([store.size, store.totalBytes]).toEqual([2, 8]);
  expect(store.get(1)).toEqual(new Uint8Array(3));
  store.drop([1, 99]);
  expect(store.get(1)).toBeUndefined();
  expect([store.size, store.totalBytes]).toEqual([1, 5]);
  store.clear();
  expect([store.size, store.totalBytes]).toEqual([0, 0]);
});

test('knows what was given up and is in memory still, since somebody holds a part of it', async () => {
  const { store } = await aStore();
  store.set(1, new Uint8Array(3_000_000));
  store.set(2, new Uint8Array(5_000_000));
  store.set(3, new Uint8Array(7_000_000));
  store.set(4, new Uint8Array(100));
  const sent = [store.get(1)?.subarray(9), store.get(2)?.subarray(9)];
  await store.spill(2);
  expect(store.givenUpBytes).toBe(0);
  store.drop([1, 3, 4]);
  store.evict(2);
  expect(store.givenUpBytes).toBe(15_000_000);
  const isDownTo = (bytes: number): Promise<boolean> =>
    until(`${bytes} are left`, () => {
      collectGarbage();
      return store.givenUpBytes === bytes || undefined;
    });
  await isDownTo(8_000_000);
  sent.pop();
  await isDownTo(3_000_000);
  expect(sent.pop()?.byteLength).toBe(2_999_991);
  await isDownTo(0);
});

test('does not count what has moved to a thread', () => {
  const store = new Store();
  const value = new Uint8Array(3_000_000);
  store.set(1, value);
  structuredClone(value, { transfer: [value.buffer] });
  store.drop([1]);
  expect([store.givenUpBytes, store.totalBytes]).toEqual([0, 0]);
});

describe('a value that is shared', () => {
  test('moves to shared memory once, where it is large', () => {
    const store = new Store();
    const value = new Uint8Array(randomBytes(SHARED_BYTES_MIN));
    store.set(1, value);
    store.set(2, value.slice(1));
    const shared = store.share(1);
    expect(shared?.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(Buffer.compare(shared ?? EMPTY, value)).toBe(0);
    expect(store.share(1)).toBe(shared);
    expect(store.get(1)).toBe(shared);
    expect(store.share(2)?.buffer).toBeInstanceOf(ArrayBuffer);
    expect(store.share(3)).toBeUndefined();
    expect(store.totalBytes).toBe(2 * SHARED_BYTES_MIN - 1);
  });

  test('is told of when it is given up, and spilled like any other', async () => {
    const { store } = await aStore();
    let given = 0;
    store.onSharedGivenUp = () => (given += 1);
    const value = new Uint8Array(randomBytes(2 * SHARED_BYTES_MIN + 3));
    store.set(1, value);
    store.share(1);
    expect(await store.spill(1)).toBe(true);
    expect(given).toBe(0);
    store.evict(1);
    store.evict(1);
    expect(given).toBe(1);
    await store.load(1);
    expect(Buffer.compare(store.share(1) ?? EMPTY, value)).toBe(0);
    store.drop([1]);
    expect(given).toBe(2);
  });
});

describe('a spilled value', () => {
  const VALUE = new Uint8Array(randomBytes(2_500_000));

  /** Much faster than comparing arrays item by item. */
  const isValue = (value: Uint8Array | undefined): boolean =>
    value !== undefined && Buffer.compare(value, VALUE) === 0;

  test('leaves the memory when told to, and can be read in parts and loaded', async () => {
    const { store } = await aStore();
    store.set(1, VALUE.slice());
    expect(await store.spill(1)).toBe(true);
    expect(isValue(store.get(1))).toBe(true);
    store.evict(1);
    expect(store.get(1)).toBeUndefined();
    expect([store.sizeOf(1), store.totalBytes]).toEqual([VALUE.byteLength, VALUE.byteLength]);
    for (const [offset, length] of [
      [0, 10],
      [1_048_570, 20],
      [1_048_576, 1_048_576],
      [2_499_999, 100],
      [2_500_000, 5],
    ] as const) {
      const part = await store.read(1, offset, length);
      expect(Buffer.compare(part, VALUE.subarray(offset, offset + length))).toBe(0);
    }
    await store.load(1);
    expect(isValue(store.get(1))).toBe(true);
  });

  test('is kept in memory as long as no file has it', async () => {
    const { store } = await aStore();
    store.set(1, VALUE.slice());
    store.evict(1);
    expect(isValue(store.get(1))).toBe(true);
  });

  test('takes its file along when it is dropped, also while that is written', async () => {
    const { store, directory } = await aStore();
    store.set(1, VALUE.slice());
    store.set(2, VALUE.slice());
    await store.spill(1);
    const writing = store.spill(2);
    store.drop([1, 2]);
    expect(await writing).toBe(false);
    await until('the files are gone', () => readdirSync(directory).length === 0);
  });

  test('of a store that ends does not take along that of the next one', async () => {
    const { store, directory } = await aStore();
    store.set(1, VALUE.slice());
    await store.spill(1);
    store.clear();
    const next = new Store(directory);
    next.set(1, VALUE.slice());
    await next.spill(1);
    next.evict(1);
    await until('the first file is gone', () => readdirSync(directory).length === 1);
    await next.load(1);
    expect(isValue(next.get(1))).toBe(true);
  });

  test('is not mixed up with one that replaces it', async () => {
    const { store } = await aStore();
    store.set(1, VALUE.slice());
    const writing = store.spill(1);
    store.set(1, new Uint8Array(5));
    expect(await writing).toBe(false);
    store.evict(1);
    expect(store.get(1)).toEqual(new Uint8Array(5));
  });

  test.each([
    [
      'a changed byte',
      (path: string): void => {
        const bytes = readFileSync(path);
        bytes[2_000_000] = 255 - (bytes[2_000_000] ?? 0);
        writeFileSync(path, bytes);
      },
    ],
    ['a missing end', (path: string): void => truncateSync(path, 2_000_000)],
  ])('with %s is refused and reported, never handed out', async (_, damage) => {
    const { store, directory } = await aStore();
    const lost: number[] = [];
    store.onLost = (task) => lost.push(task);
    store.set(1, VALUE.slice());
    await store.spill(1);
    store.evict(1);
    const [name = ''] = readdirSync(directory);
    damage(join(directory, name));
    await expect(store.load(1)).rejects.toMatchObject({ code: 'ERR_LOST_DATA' });
    await expect(store.read(1, 1_900_000, 300_000)).rejects.toThrow(name);
    expect(lost).toEqual([1]);
    // What is whole is whole.
    expect(await store.read(1, 0, 100)).toEqual(VALUE.subarray(0, 100));
  });

  test('is as long as it was: bytes behind it are no part of it', async () => {
    const { store, directory } = await aStore();
    store.set(1, VALUE.slice());
    await store.spill(1);
    store.evict(1);
    appendFileSync(join(directory, readdirSync(directory)[0] ?? ''), 'more');
    await store.load(1);
    expect(isValue(store.get(1))).toBe(true);
  });
});
