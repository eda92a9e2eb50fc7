/** Checked by the compiler: what the client infers. Never run. */
import type { CommandResult } from '@farm/protocol';
import { expectTypeOf } from 'vitest';

import {
  type Client,
  type Future,
  type Settled,
  arg,
  asCompleted,
  command,
  fromModule,
  wait,
} from '../src/index.ts';

declare const client: Client;
declare const n: Future<number>;
declare const s: Future<string>;

function scale(x: number, factor = 1): number {
  return x * factor;
}

// submit: values or futures, at any depth; promises are unwrapped
expectTypeOf(client.submit(scale, 1)).toEqualTypeOf<Future<number>>();
expectTypeOf(client.submit(scale, n, n)).toEqualTypeOf<Future<number>>();
expectTypeOf(client.submit(async (x: number) => String(x), n)).toEqualTypeOf<Future<string>>();
expectTypeOf(client.submit((xs: number[]) => xs.length, [n, 1, n])).toEqualTypeOf<Future<number>>();
expectTypeOf(client.submit((xs: number[]) => xs.length, client.map(scale, [1]))).toEqualTypeOf<
  Future<number>
>();
expectTypeOf(
  client.submit((o: { a: { b: number[] }; m: Map<string, string> }) => o.a.b, {
    a: { b: [n] },
    m: new Map([['k', s]]),
  }),
).toEqualTypeOf<Future<number[]>>();
expectTypeOf(client.submit(() => {})).toEqualTypeOf<Future<void>>();
expectTypeOf(client.submit((...xs: number[]) => xs.length, 1, n, 3)).toEqualTypeOf<
  Future<number>
>();
// @ts-expect-error: a string is no number
client.submit(scale, 'a');
// @ts-expect-error: nor is a future of one
client.submit(scale, s);
// @ts-expect-error: an argument is missing
client.submit(scale);
// @ts-expect-error: a future of a string inside
client.submit((xs: number[]) => xs.length, [s]);

// map: element types are inferred both ways
expectTypeOf(client.map((x: number) => x ** 2, [0, 1, 2, 3])).toEqualTypeOf<Future<number>[]>();
expectTypeOf(client.map((x) => x.toFixed(), [1, 2])).toEqualTypeOf<Future<string>[]>();
expectTypeOf(client.map((x, y) => `${x.toFixed()}${y.trim()}`, [1, 2], ['a'])).toEqualTypeOf<
  Future<string>[]
>();
expectTypeOf(client.map(scale, new Float64Array(16))).toEqualTypeOf<Future<number>[]>();
expectTypeOf(client.map(scale, [n, 1], new Set([2]))).toEqualTypeOf<Future<number>[]>();
expectTypeOf(client.map((row: number[]) => row.length, [[n, 1], [2]])).toEqualTypeOf<
  Future<number>[]
>();
// @ts-expect-error: strings are no numbers
client.map(scale, ['a']);

// commands and modules
const copy = command('cp', [arg(0), arg(1)]);
expectTypeOf(client.submit(copy, 'a', 'b')).toEqualTypeOf<Future<CommandResult>>();
expectTypeOf(client.map(copy, ['a'], ['b'])).toEqualTypeOf<Future<CommandResult>[]>();
const imported = fromModule<typeof scale>(new URL('file:///a.ts'), 'scale');
expectTypeOf(client.submit(imported, n)).toEqualTypeOf<Future<number>>();
expectTypeOf(client.map(imported, [1, n])).toEqualTypeOf<Future<number>[]>();
// @ts-expect-error: a string is no number
client.submit(imported, 'a');
expectTypeOf(client.with({ resources: { GPU: 1 } }).map(scale, [1])).toEqualTypeOf<
  Future<number>[]
>();

// gather: the same shape with values
expectTypeOf(await client.gather([n, n])).toEqualTypeOf<number[]>();
expectTypeOf(await client.gather(n)).toEqualTypeOf<number>();
expectTypeOf(
  await client.gather({ a: n, b: [s], c: new Map([['k', n]]), d: new Set([s]), e: 5 }),
).toEqualTypeOf<{ a: number; b: string[]; c: Map<string, number>; d: Set<string>; e: number }>();
expectTypeOf(await client.gather([n, s] as const)).toEqualTypeOf<[number, string]>();
expectTypeOf(await client.gather([n, n], { errors: 'skip' })).toEqualTypeOf<number[]>();

// results, completion order, waiting
expectTypeOf(await n.result()).toEqualTypeOf<number>();
for await (const future of asCompleted([n])) expectTypeOf(future).toEqualTypeOf<Future<number>>();
for await (const entry of asCompleted([n], { results: true })) {
  expectTypeOf(entry).toEqualTypeOf<Settled<number>>();
  if (entry.status === 'fulfilled') expectTypeOf(entry.value).toEqualTypeOf<number>();
}
expectTypeOf((await wait([n])).done).toEqualTypeOf<Future<number>[]>();
