import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { describe, expect, onTestFinished, test, vi } from 'vitest';

import { DataStream } from '../../../src/shell/data/data-stream.ts';
import { openHostMemory } from '../../../src/shell/data/host-memory/open-host-memory.ts';
import { MemoryAhead } from '../../../src/shell/data/memory-ahead.ts';
import { PartialValue } from '../../../src/shell/data/partial-value.ts';
import { Store } from '../../../src/shell/data/store.ts';
import { until } from '../fake-scheduler.ts';
import {
  aDirectory,
  aHolder,
  anAsker,
  changed,
  dialStream,
  ownMemory,
  type MemoryChanges,
} from './local-transfer.ts';
import { aValue } from './values.ts';

const SIZE = 20_000_003;
const MIB = 1_048_576;
const onLinux = process.platform === 'linux';
/** Undefined where koffi is not installed, as it need not be. */
const real = openHostMemory();

function aStore(value: Uint8Array = aValue(SIZE)): Store {
  const store = new Store();
  store.set(1, value);
  return store;
}

/** A holder in a process of its own. */
async function aHolderProcess(
  sizeBytes: number,
): Promise<{ readonly address: string; readonly child: ChildProcess }> {
  const script = fileURLToPath(new URL('holder-process.ts', import.meta.url));
  const args = ['--conditions=@farm/source', script, await aDirectory(), String(sizeBytes)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const told: readonly unknown[] = await once(createInterface(child.stdout), 'line');
  return { address: String(told[0]), child };
}

describe.runIf(real !== undefined)('of another process', () => {
  test.each([
    [MIB + 1, false],
    [SIZE, false],
    [SIZE, true],
  ])('a value of %d bytes is read in its memory (shared: %s)', async (sizeBytes, isShared) => {
    const { address } = await aHolderProcess(sizeBytes);
    const { fetcher, socketBytes, notRead } = anAsker(openHostMemory);
    for (let time = 0; time < 2; time++) {
      const fetched = await fetcher.fetch(1, sizeBytes, [address], isShared);
      expect(fetched.buffer instanceof SharedArrayBuffer).toBe(isShared);
      expect(Buffer.compare(fetched, aValue(sizeBytes))).toBe(0);
    }
    expect(socketBytes()).toBeLessThan(1_000);
    expect(notRead).toEqual([]);
  });

  test('that is killed in the middle, the next holder has the rest', async () => {
    const { address, child } = await aHolderProcess(SIZE);
    const other = await aHolder(aStore(), undefined);
    const memory = changed(real ?? ownMemory(), {
      bytesMax: MIB,
      before: async (reads) => {
        if (reads !== 4) return;
        child.kill('SIGKILL');
        await once(child, 'exit');
      },
    });
    const { fetcher, socketBytes } = anAsker(memory);
    const fetched = await fetcher.fetch(1, SIZE, [address, other.address]);
    expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
    expect(socketBytes()).toBeGreaterThan(MIB);
  });

  test('that is killed in the middle, the value is lost where nobody else has it', async () => {
    const { address, child } = await aHolderProcess(SIZE);
    const memory = changed(real ?? ownMemory(), {
      before: async () => {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      },
    });
    const { fetcher } = anAsker(memory);
    await expect(fetcher.fetch(1, SIZE, [address])).rejects.toMatchObject({
      code: 'ERR_LOST_DATA',
    });
  });

  test('what the kernel refuses is told by its number', () => {
    const into = new Uint8Array(8);
    // No process has this number, and nothing lies at address 8.
    expect(real?.readNow(2 ** 22 + 1, 4_096, into)).toBe(-3);
    expect(real?.readNow(process.pid, 8, into)).toBe(-14);
  });

  test('a read in the background tells it, too', async () => {
    const into = new Uint8Array(8);
    expect(await real?.read(2 ** 22 + 1, 4_096, into)).toBe(-3);
    expect(await real?.read(process.pid, 8, into)).toBe(-14);
    const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    expect(await real?.read(process.pid, real.addressOf(bytes.subarray(2)) ?? 0, into)).toBe(8);
    expect([...into.subarray(0, 6)]).toEqual([3, 4, 5, 6, 7, 8]);
  });
});

describe.runIf(onLinux)('a value that is lent', () => {
  test('is read, and given back', async () => {
    const memory = ownMemory();
    const admitted: number[][] = [];
    const openChanged = changed(memory, { admitted: (readers) => admitted.push([...readers]) });
    const holder = await aHolder(aStore(), openChanged);
    const { fetcher, socketBytes } = anAsker(openChanged);
    const fetched = await fetcher.fetch(1, SIZE, [holder.address]);
    expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
    expect(socketBytes()).toBeLessThan(1_000);
    await until('the loan ends', () => (holder.loans === 0 ? true : undefined));
    // Only while it is lent may the asker read.
    expect(admitted).toEqual([[process.pid], []]);
  });

  test('stays until it is given back, though it is released, and counts as held', async () => {
    const memory = ownMemory();
    const store = aStore();
    const holder = await aHolder(store, () => memory);
    const held: number[] = [];
    const { fetcher, socketBytes } = anAsker(
      changed(memory, {
        bytesMax: MIB,
        before: (reads) => {
          if (reads === 2) store.drop([1]);
          held.push(store.totalBytes);
        },
      }),
    );
    const fetched = await fetcher.fetch(1, SIZE, [holder.address]);
    expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
    expect(socketBytes()).toBeLessThan(1_000);
    expect(new Set(held)).toEqual(new Set([SIZE]));
    await until('the loan ends', () => (holder.loans === 0 ? true : undefined));
    expect(store.totalBytes).toBe(0);
    expect(store.get(1)).toBeUndefined();
  });

  test('is given back when the asker is gone', async () => {
    const store = aStore();
    const memory = ownMemory();
    const holder = await aHolder(store, () => memory);
    const stream = await DataStream.open(holder.address, dialStream);
    const into = new PartialValue(SIZE, 'shared');
    const terms = await stream.borrow(1, process.pid, into);
    expect([holder.loans, store.mayMove(1)]).toEqual([1, false]);
    const seal = new Uint8Array(16);
    expect(memory.readNow(process.pid, terms?.sealAddress ?? 0, seal)).toBe(16);
    expect(seal).toEqual(terms?.seal);
    stream.close();
    await until('the loan ends', () => (holder.loans === 0 ? true : undefined));
    expect(store.mayMove(1)).toBe(true);
    // Whoever still reads notices.
    memory.readNow(process.pid, terms?.sealAddress ?? 0, seal);
    expect(seal).toEqual(new Uint8Array(16));
  });

  test('is not read any further when nobody wants it any more', async () => {
    const memory = ownMemory();
    const holder = await aHolder(aStore(), () => memory);
    let reads = 0;
    const { fetcher } = anAsker(
      changed(memory, {
        before: async (count) => {
          reads = count;
          await fetcher.close();
        },
      }),
    );
    await expect(fetcher.fetch(1, SIZE, [holder.address])).rejects.toMatchObject({
      code: 'ERR_CLOSED',
    });
    await until('the loan ends', () => (holder.loans === 0 ? true : undefined));
    expect(reads).toBeLessThanOrEqual(2);
  });

  test('is not another than the one that was asked for', async () => {
    const memory = ownMemory();
    const holder = await aHolder(aStore(), () => memory);
    const { fetcher } = anAsker(() => memory);
    await expect(fetcher.fetch(1, SIZE + 1, [holder.address])).rejects.toThrow(
      `has a value of ${SIZE} bytes, expected one of ${SIZE + 1}`,
    );
    await expect(fetcher.fetch(2, SIZE, [holder.address])).rejects.toThrow('does not hold');
    expect(holder.loans).toBe(0);
  });
});

describe.runIf(onLinux)('the socket brings it', () => {
  async function fetchWith(
    asker: MemoryChanges | undefined,
    holder: MemoryChanges | undefined,
  ): Promise<{ readonly socketBytes: number; readonly notRead: readonly string[] }> {
    const memory = ownMemory();
    const open = (changes: MemoryChanges | undefined): ReturnType<typeof changed> | undefined =>
      changes === undefined ? undefined : changed(memory, changes);
    const { address } = await aHolder(aStore(), open(holder));
    const { fetcher, socketBytes, notRead } = anAsker(open(asker));
    const fetched = await fetcher.fetch(1, SIZE, [address]);
    expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
    const first = socketBytes();
    // On the same connection nobody tries again.
    await fetcher.fetch(1, SIZE, [address]);
    expect(socketBytes() - first).toBeGreaterThanOrEqual(asker === undefined ? SIZE : 0);
    return { socketBytes: first, notRead };
  }

  test.each([
    ['the asker cannot read', undefined, {}],
    ['the holder does not lend', {}, undefined],
    ['neither can', undefined, undefined],
  ])('where %s', async (_, asker, holder) => {
    const { socketBytes, notRead } = await fetchWith(asker, holder);
    expect(socketBytes).toBeGreaterThanOrEqual(SIZE);
    expect(notRead).toEqual([]);
  });

  test.each([
    ['the kernel refuses', { sealAnswer: () => -1 }, 'refuses to read (error 1)'],
    ['the seal is another', { sealAnswer: () => 16 }, 'the seal is broken'],
    ['the process is gone', { answer: () => -3 }, 'refuses to read (error 3)'],
    ['nothing comes', { answer: () => 0 }, 'refuses to read (error 0)'],
  ])('where %s', async (_, asker, why) => {
    const { socketBytes, notRead } = await fetchWith(asker, {});
    expect(socketBytes).toBeGreaterThanOrEqual(SIZE);
    expect(notRead).toEqual([expect.stringContaining(why)]);
  });

  test('the rest of it, where the seal breaks in between', async () => {
    let seals = 0;
    // Whole before the first piece and after it.
    const sealAnswer = (): number | undefined => ((seals += 1) <= 2 ? undefined : 16);
    const memory = ownMemory();
    const { address } = await aHolder(aStore(aValue(140_000_000)), () => memory);
    const { fetcher, socketBytes } = anAsker(changed(memory, { sealAnswer }));
    const fetched = await fetcher.fetch(1, 140_000_000, [address]);
    expect(Buffer.compare(fetched, aValue(140_000_000))).toBe(0);
    expect(socketBytes()).toBeLessThan(140_000_000);
  });

  test('of a value that is spilled', async () => {
    const memory = ownMemory();
    const store = new Store(await aDirectory());
    store.set(1, aValue(SIZE));
    await store.spill(1);
    store.evict(1);
    const { address } = await aHolder(store, () => memory);
    const { fetcher, socketBytes } = anAsker(() => memory);
    const fetched = await fetcher.fetch(1, SIZE, [address]);
    expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
    expect(socketBytes()).toBeGreaterThanOrEqual(SIZE);
  });
});

test.runIf(onLinux)('a short read goes on where it ended', async () => {
  const memory = ownMemory();
  const { address } = await aHolder(aStore(), () => memory);
  const { fetcher, socketBytes } = anAsker(changed(memory, { bytesMax: 777_777 }));
  const fetched = await fetcher.fetch(1, SIZE, [address]);
  expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
  expect(socketBytes()).toBeLessThan(1_000);
});

test.runIf(onLinux)('memory that cannot be had fails the fetch, and nothing else', async () => {
  const { address } = await aHolder(aStore(), undefined);
  const { fetcher } = anAsker(undefined);
  await expect(fetcher.fetch(1, 2 ** 52, [address])).rejects.toThrow('no memory for');
  const fetched = await fetcher.fetch(1, SIZE, [address]);
  expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
});

describe('memory that is got ahead', () => {
  test('is for the next value of the same size', () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const ahead = new MemoryAhead();
    const sizes: number[] = [];
    const getMemory = globalThis.ArrayBuffer;
    class Counted extends getMemory {
      constructor(bytes: number) {
        super(bytes);
        sizes.push(bytes);
      }
    }
    vi.stubGlobal('ArrayBuffer', Counted);
    onTestFinished(() => void vi.unstubAllGlobals());
    const large = 16 * MIB;
    ahead.take(large);
    vi.runAllTimers();
    expect(sizes).toEqual([large, large]);
    expect(ahead.take(large).byteLength).toBe(large);
    expect(sizes).toEqual([large, large]);
    vi.runAllTimers();
    // One of another size is not for it, and small ones are not got ahead.
    expect(ahead.take(large + 8).byteLength).toBe(large + 8);
    ahead.take(8);
    vi.runAllTimers();
    expect(sizes).toEqual([large, large, large, large + 8, 8, large + 8]);
    ahead.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
