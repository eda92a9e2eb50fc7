import { expect, test } from 'vitest';

import { Store } from '../../src/shell/data/store.ts';

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
