import { LIMITS } from '@farm/protocol';
import { expect, test } from 'vitest';

import { LoanDesk } from '../../../src/shell/data/host-memory/loan-desk.ts';
import { Store } from '../../../src/shell/data/store.ts';
import { runInputs } from '../../../src/shell/run-inputs.ts';
import { changed, ownMemory } from './local-transfer.ts';

const VALUE = Uint8Array.of(1, 2, 3);

function aStore(): Store {
  const store = new Store();
  store.set(1, VALUE);
  return store;
}

test('only those that read are let in, and nobody after the last', () => {
  const admitted: number[][] = [];
  const open = changed(ownMemory(), { admitted: (readers) => admitted.push([...readers]) });
  const desk = new LoanDesk(open);
  const store = aStore();
  const first = desk.lend(store, { task: 1, reader: 7, totalBytes: 3 });
  const second = desk.lend(store, { task: 1, reader: 8, totalBytes: 3 });
  expect(desk.size).toBe(2);
  expect(first?.terms.seal).not.toEqual(second?.terms.seal);
  first?.end();
  first?.end();
  second?.end();
  expect(admitted).toEqual([[7], [7, 8], [8], []]);
  expect([desk.size, store.mayMove(1)]).toEqual([0, true]);
});

test('what is not in memory is not lent, nor without a seal', () => {
  const desk = new LoanDesk(ownMemory);
  const store = aStore();
  expect(desk.lend(store, { task: 2, reader: 7, totalBytes: 3 })).toBeUndefined();
  const request = { task: 1, reader: 7, totalBytes: 3 };
  const loans = Array.from({ length: LIMITS.dataStreamsMax }, () => desk.lend(store, request));
  expect(loans.every((loan) => loan !== undefined)).toBe(true);
  expect(desk.lend(store, request)).toBeUndefined();
  expect(new LoanDesk(() => undefined).lend(store, request)).toBeUndefined();
  loans[0]?.end();
  expect(desk.lend(store, request)).toBeDefined();
  for (const loan of loans) loan?.end();
  expect(desk.size).toBe(1);
});

test('a value that is lent counts until it is given back, whatever takes its place', () => {
  const store = aStore();
  const [one, other] = [store.lend(1), store.lend(1)];
  store.set(1, Uint8Array.of(4));
  expect([store.totalBytes, store.mayMove(1)]).toEqual([4, true]);
  one?.giveBack();
  expect(store.totalBytes).toBe(4);
  other?.giveBack();
  expect(store.totalBytes).toBe(1);
  expect(other?.value).toEqual(VALUE);
  expect(store.lend(9)).toBeUndefined();
});

test('a value that is lent is not moved into the run that it is there for', () => {
  const store = aStore();
  const options = { key: 'k', tasks: [1], moved: [1], shares: false, maps: false };
  const lent = store.lend(1);
  expect(runInputs(store, options)).toEqual({ inputs: [VALUE] });
  lent?.giveBack();
  expect(runInputs(store, options).movable).toEqual(new Set([VALUE]));
});
