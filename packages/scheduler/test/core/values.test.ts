import { expect, test } from 'vitest';

import { ByteChunks } from '../../src/core/collections/byte-chunks.ts';
import { ValueArena } from '../../src/core/values.ts';

const SIZE = 100;
const bytes = (of: number) => new Uint8Array(SIZE).fill(of);

test('values of a block lie in one buffer, and views of them stay as they are', () => {
  const arena = new ValueArena(3, new ByteChunks());
  const places = [1, 2, 3].map((of) => arena.add(bytes(of), 0, SIZE));
  const views = places.map((at) => arena.get(at, SIZE));
  expect(new Set(views.map(({ buffer }) => buffer)).size).toBe(1);
  arena.remove(SIZE);
  arena.add(bytes(4), 0, SIZE);
  expect(views).toEqual([bytes(1), bytes(2), bytes(3)]);
});

test('values of blocks of one share a buffer, each with its own bytes', () => {
  const chunks = new ByteChunks();
  const values = [1, 2, 3].map((of) => {
    const arena = new ValueArena(1, chunks);
    // Only a part of what is handed over is the value.
    const at = arena.add(new Uint8Array([...bytes(9), ...bytes(of)]), SIZE, 2 * SIZE);
    return { arena, at };
  });
  const views = values.map(({ arena, at }) => arena.get(at, SIZE));
  expect(views).toEqual([bytes(1), bytes(2), bytes(3)]);
  expect(new Set(views.map(({ buffer }) => buffer)).size).toBe(1);
  for (const { arena } of values) {
    arena.remove(SIZE);
    expect(arena.isSparse).toBe(false);
  }
});

test.each([10, 1_000, 100_000])(
  'a block of %d tasks is looked through for each so many bytes that were removed',
  (tasks) => {
    const arena = new ValueArena(tasks, new ByteChunks());
    arena.add(bytes(1), 0, SIZE);
    let removed = 0;
    while (!arena.isSparse) {
      arena.add(bytes(2), 0, SIZE);
      arena.remove(SIZE);
      removed += SIZE;
    }
    // Results that come and go, one at a time: to look at a task is paid for by 16 bytes of them.
    expect(removed).toBeGreaterThan(Math.max(4_096, 16 * tasks));
    expect(removed).toBeLessThanOrEqual(Math.max(4_096, 16 * tasks) + SIZE);
  },
);
