import { expect, test } from 'vitest';

import { ByteBudget } from '../../src/shell/data/byte-budget.ts';

test('work begins in its order, while it fits; one always goes on, however large', async () => {
  const budget = new ByteBudget(100);
  const began: string[] = [];
  const ends = new Map<string, () => void>();
  const spend = (name: string, bytes: number): Promise<void> =>
    budget.spend(bytes, () => {
      began.push(name);
      return new Promise((end) => ends.set(name, end));
    });
  const all = [spend('huge', 500), spend('a', 60), spend('b', 50), spend('c', 10)];
  const end = async (name: string): Promise<void> => {
    ends.get(name)?.();
    await new Promise((done) => setImmediate(done));
  };
  expect(began).toEqual(['huge']);
  await end('huge');
  // `c` would fit beside `a`, and waits for its turn all the same.
  expect(began).toEqual(['huge', 'a']);
  await end('a');
  expect(began).toEqual(['huge', 'a', 'b', 'c']);
  await end('b');
  await end('c');
  await Promise.all(all);
});

test('the bytes of work that fails are free again', async () => {
  const budget = new ByteBudget(1);
  await expect(budget.spend(1, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  await expect(budget.spend(1, () => Promise.resolve(7))).resolves.toBe(7);
});
