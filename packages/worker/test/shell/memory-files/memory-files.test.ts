import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fstatSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { encodeValue, type LoanedFile } from '@farm/protocol';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';

import type { OpenHostMemory } from '../../../src/shell/data/host-memory/host-memory.ts';
import { openHostMemory } from '../../../src/shell/data/host-memory/open-host-memory.ts';
import { MemoryAhead } from '../../../src/shell/data/memory-ahead.ts';
import { PartialValue } from '../../../src/shell/data/partial-value.ts';
import { Store } from '../../../src/shell/data/store.ts';
import { movedBuffers, packRuns } from '../../../src/shell/executors/threads/run-batch.ts';
import { openFilePages, type FilePages } from '../../../src/shell/memory-files/file-pages.ts';
import { fileBytes, fileRegion, roomBytes } from '../../../src/shell/memory-files/file-room.ts';
import { mapValue } from '../../../src/shell/memory-files/map-value.ts';
import { ResultFiles } from '../../../src/shell/memory-files/result-files.ts';
import { runInputs } from '../../../src/shell/run-inputs.ts';
import {
  closeFileOf,
  fileOf,
  keepFile,
  VALUE_FILES_MAX,
} from '../../../src/shell/memory-files/value-files.ts';
import { aDirectory, aHolder, anAsker, changed } from '../host-memory/local-transfer.ts';
import { aValue } from '../host-memory/values.ts';
import { aFileValue, hasMemoryFiles, noResultFiles, openResultFiles } from './file-values.ts';

const SIZE = 40_000_003;
const has = hasMemoryFiles();

beforeEach(noResultFiles);

/** Memory of processes that counts how often values are read there. */
function counting(): { readonly open: OpenHostMemory; readonly reads: () => number } {
  const memory = openHostMemory();
  if (memory === undefined) throw new Error('there is no memory of other processes here');
  let reads = 0;
  return { open: changed(memory, { before: (count) => void (reads = count) }), reads: () => reads };
}

function aStore(value: Uint8Array): Store {
  const store = new Store();
  store.set(1, value);
  return store;
}

/** Of memory that nobody has from then on: whoever calls never had it. */
function firstByteOf(make: () => Uint8Array): number | undefined {
  return make()[0];
}

function thePages(): FilePages {
  const pages = openFilePages();
  if (pages === undefined) throw new Error('there are no files in memory here');
  return pages;
}

describe.runIf(has)('a value in a file in memory', () => {
  test.each([false, true])(
    'is mapped by who takes it, and lent on (shared: %s)',
    async (shared) => {
      const { open, reads } = counting();
      let store = aStore(aFileValue(SIZE));
      for (let time = 0; time < 2; time++) {
        const { address } = await aHolder(store, open);
        const { fetcher, socketBytes } = anAsker(open);
        const fetched = await fetcher.fetch(1, SIZE, [address], shared);
        expect(fetched.buffer instanceof SharedArrayBuffer).toBe(shared);
        expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
        expect(socketBytes()).toBeLessThan(1_000);
        store = aStore(fetched);
      }
      expect(reads()).toBe(0);
    },
  );

  test('is everybody’s own where it is written to', async () => {
    const { open } = counting();
    const made = aFileValue(SIZE);
    const { address } = await aHolder(aStore(made), open);
    const { fetcher } = anAsker(open);
    const fetched = await fetcher.fetch(1, SIZE, [address]);
    const other = await fetcher.fetch(1, SIZE, [address]);
    fetched[0] = 1;
    made[1] = 2;
    fetched.fill(7, 4_000_000, 9_000_000);
    expect([...fetched.subarray(0, 2)]).toEqual([1, 0]);
    expect([...made.subarray(0, 2)]).toEqual([0, 2]);
    expect(Buffer.compare(other, aValue(SIZE))).toBe(0);
    made[1] = 0;
    expect(Buffer.compare(made, aValue(SIZE))).toBe(0);
  });

  test('is there when its holder is killed', async () => {
    const script = fileURLToPath(new URL('../host-memory/holder-process.ts', import.meta.url));
    const args = ['--conditions=@farm/source', script, await aDirectory(), String(SIZE), 'in-file'];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    const told: readonly unknown[] = await once(createInterface(child.stdout), 'line');
    const { open, reads } = counting();
    const { fetcher } = anAsker(open);
    const fetched = await fetcher.fetch(1, SIZE, [String(told[0])]);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
    expect(reads()).toBe(0);
  });

  test('moves to memory that threads share without a copy, and its file with it', () => {
    const store = aStore(aFileValue(SIZE));
    const before = store.get(1);
    const shared = store.share(1);
    expect(shared?.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(Buffer.compare(shared ?? new Uint8Array(), aValue(SIZE))).toBe(0);
    expect(fileOf(shared?.buffer ?? new ArrayBuffer())).toBeDefined();
    expect(fileOf(before?.buffer ?? new ArrayBuffer())).toBeUndefined();
    expect(store.share(1)).toBe(shared);
    store.drop([1]);
  });

  test('is made of another value when that is first used by a run that does not own it', () => {
    const store = aStore(aValue(SIZE));
    store.set(2, aValue(1_000_000));
    const run = { key: 'run', moved: undefined, shares: false };
    const given = (task: number, maps: boolean): Uint8Array | undefined =>
      runInputs(store, { ...run, tasks: [task], maps }).inputs[0];
    expect(fileOf(given(1, false)?.buffer ?? new ArrayBuffer())).toBeUndefined();
    const input = given(1, true) ?? new Uint8Array();
    expect(fileOf(input.buffer)).toBeDefined();
    expect(Buffer.compare(input, aValue(SIZE))).toBe(0);
    expect(given(1, true)).toBe(input);
    expect(store.get(1)).toBe(input);
    expect(store.givenUpBytes).toBe(SIZE);
    // What is its own moves as it is, and what is small is copied.
    store.set(3, aValue(SIZE));
    const own = runInputs(store, { ...run, tasks: [3], moved: [3], maps: true });
    expect([...(own.movable ?? [])].map(({ buffer }) => fileOf(buffer))).toEqual([undefined]);
    expect(fileOf(given(2, true)?.buffer ?? new ArrayBuffer())).toBeUndefined();
    store.clear();
    expect(openResultFiles()).toBe(0);
  });

  test.each([false, true])('is a run’s own without a copy (shared before: %s)', (isShared) => {
    const store = aStore(aFileValue(SIZE));
    if (isShared) store.share(1);
    const value = store.get(1) ?? new Uint8Array();
    const args = encodeValue([]).bytes;
    const run = { run: 1, key: 'k', attempt: 1, args, timeoutMs: null, resources: [] };
    const pack = (): Uint8Array => {
      const batch = packRuns(1, 0, [{ ...run, inputs: [value] }], true);
      expect(batch.bytes.byteLength).toBeLessThan(1_000);
      const own = batch.apart?.get(1) ?? new Uint8Array();
      expect(movedBuffers(batch)).toContain(own.buffer);
      return own;
    };
    const [one, other] = [pack(), pack()];
    for (const own of [one, other]) {
      expect(Buffer.compare(own, aValue(SIZE))).toBe(0);
      own.fill(9);
    }
    expect(Buffer.compare(value, aValue(SIZE))).toBe(0);
    store.drop([1]);
    // Without its file it is copied.
    expect(packRuns(1, 0, [{ ...run, inputs: [value] }], true).bytes.byteLength).toBeGreaterThan(
      SIZE,
    );
  });

  test('keeps its file for as long as it is held', async () => {
    const store = aStore(aFileValue(SIZE));
    expect(openResultFiles()).toBe(1);
    const value = store.get(1);
    store.drop([1]);
    expect(openResultFiles()).toBe(0);
    // What somebody still reads is there.
    expect(Buffer.compare(value ?? new Uint8Array(), aValue(SIZE))).toBe(0);
  });

  test('has one only while not too many have', () => {
    const pages = thePages();
    const memory = Array.from({ length: VALUE_FILES_MAX + 1 }, () => new ArrayBuffer(8));
    for (const buffer of memory) keepFile(buffer, pages.make('farm-result-many', 4_096) ?? -1);
    expect(openResultFiles()).toBe(VALUE_FILES_MAX);
    expect(memory.map(fileOf).indexOf(undefined)).toBe(VALUE_FILES_MAX);
    // No other value moves to one in vain.
    const store = aStore(aValue(SIZE));
    const value = store.get(1);
    expect(store.inFile(1)).toBe(value);
    for (const buffer of memory) closeFileOf(buffer);
    expect(openResultFiles()).toBe(0);
  });

  test('that has been spilled leaves no file in memory', async () => {
    const store = new Store(await aDirectory());
    store.set(1, aFileValue(SIZE));
    await store.spill(1);
    store.evict(1);
    expect(openResultFiles()).toBe(0);
    await store.load(1);
    expect(Buffer.compare(store.get(1) ?? new Uint8Array(), aValue(SIZE))).toBe(0);
    store.clear();
  });

  test('whose file others could still write to is read instead', async () => {
    const pages = thePages();
    const buffer = new ArrayBuffer(roomBytes(SIZE));
    const region = fileRegion(pages, buffer, SIZE);
    const file = pages.make('farm-result-open', fileBytes(SIZE));
    if (region === undefined || file === undefined) throw new Error('no region, or no file');
    expect(pages.map(file, region, 'shared')).toBe(true);
    const value = new Uint8Array(buffer, region.byteOffset, SIZE);
    value.set(aValue(SIZE));
    keepFile(buffer, file);
    const { open, reads } = counting();
    const { address } = await aHolder(aStore(value), open);
    const { fetcher, socketBytes, notRead } = anAsker(open);
    const fetched = await fetcher.fetch(1, SIZE, [address]);
    expect(Buffer.compare(fetched, aValue(SIZE))).toBe(0);
    expect(reads()).toBeGreaterThan(0);
    expect(socketBytes()).toBeLessThan(1_000);
    expect(notRead).toEqual([]);
    closeFileOf(buffer);
  });

  test('is mapped only where it is that very file', () => {
    const pages = thePages();
    const { buffer } = aFileValue(SIZE);
    const descriptor = fileOf(buffer) ?? -1;
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    const right: LoanedFile = { descriptor, device: dev, inode: ino };
    const map = (lent: LoanedFile, into: PartialValue, pid: number = process.pid): unknown =>
      mapValue(pages, pid, lent, into);
    const into = new PartialValue(SIZE, new MemoryAhead());
    expect(map({ ...right, inode: ino + 1n }, into)).toBe('it is another file');
    expect(map({ ...right, device: dev + 1n }, into)).toBe('it is another file');
    expect(map({ ...right, descriptor: 999_999 }, into)).toBe('its file cannot be opened');
    expect(map(right, into, 2 ** 22 + 1)).toBe('its file cannot be opened');
    expect(map(right, new PartialValue(2 * SIZE, 'shared'))).toBe('it is another file');
    expect(map(right, new PartialValue(1_000_000, 'shared'))).toBe('its memory is not of the kind');
    expect([into.arrivedBytes, into.bytes[61 * 3]]).toEqual([0, 0]);
    expect(map(right, into)).toBeUndefined();
    expect([into.arrivedBytes, into.bytes[61 * 3]]).toEqual([SIZE, 3]);
    expect(map(right, into)).toBe('some of it is there already');
    closeFileOf(buffer);
    closeFileOf(into.bytes.buffer);
  });
});

describe.runIf(has)('memory for results', () => {
  test('is in no file where it is small, or takes more than is allowed', () => {
    const results = new ResultFiles(SIZE);
    for (const sizeBytes of [8, 1_000_000, SIZE + 1]) {
      const memory = results.allocate(sizeBytes);
      expect([memory.byteLength, memory.byteOffset]).toEqual([sizeBytes, 0]);
      expect(results.handOver(memory)).toBeUndefined();
    }
    expect(openResultFiles()).toBe(0);
  });

  test.each([
    ['unlimited', 'in a file'],
    ['10000', 'plain'],
  ])('is in none that is larger than files may be (%s blocks)', async (blocks, place) => {
    const script = fileURLToPath(new URL('limited-process.ts', import.meta.url));
    const command = `ulimit -f ${blocks} && exec "$0" --conditions=@farm/source "$1"`;
    const child = spawn('sh', ['-c', command, process.execPath, script]);
    const [said] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
    expect(said.trim()).toBe(place);
  });

  test('is handed over only from its beginning', () => {
    const results = new ResultFiles(Infinity);
    const memory = results.allocate(SIZE);
    expect(openResultFiles()).toBe(1);
    expect(results.handOver(memory.subarray(8))).toBeUndefined();
    expect(openResultFiles()).toBe(0);
    memory[7] = 1;
    expect(memory[7]).toBe(1);
  });

  test('that nobody hands over leaves no file', async () => {
    const results = new ResultFiles(Infinity);
    expect(firstByteOf(() => results.allocate(SIZE))).toBe(0);
    expect(openResultFiles()).toBe(1);
    await noResultFiles();
    // Who makes memory lives as long as its thread.
    expect(results.allocate(8)).toHaveLength(8);
  });

  test('of which nobody has the value any more leaves none either', async () => {
    expect(firstByteOf(() => aFileValue(SIZE))).toBe(0);
    expect(openResultFiles()).toBe(1);
    await noResultFiles();
  });
});
