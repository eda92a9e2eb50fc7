/** Goal: whatever a plugin does in its thread, the host goes on, and ends in bounded time. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import type { Logger, PluginSpec } from '@farm/protocol';
import { encodeValue } from '@farm/protocol/value';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { PluginHost } from '../../src/shell/plugins/plugin-host.ts';
import type { EnvironmentChanges } from '../../src/shell/plugins/worker-plugin.ts';

let directory: string;
let host: PluginHost;
let environment: EnvironmentChanges[];
let log: string[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'farm-plugins-'));
  environment = [];
  log = [];
  host = aHost();
});

afterEach(async () => {
  await host.close();
  await rm(directory, { recursive: true, force: true });
});

function aHost(teardownTimeoutMs: number = 20_000): PluginHost {
  const note = (message: string): void => void log.push(message);
  const logger: Logger = { trace: note, debug: note, info: note, warn: note, error: note };
  const about = { name: 'w', address: null, localDirectory: directory, nthreads: 2 };
  return new PluginHost({
    worker: { ...about, resources: [['GPU', 1]] },
    logger,
    setEnvironment: (changes) => void environment.push(changes),
    teardownTimeoutMs,
  });
}

function source(text: string, args: readonly unknown[] = [], setupTimeoutMs = 20_000): Uint8Array {
  const code = { kind: 'source', name: 'make', source: text } as const;
  const spec: PluginSpec = { code, args, setupTimeoutMs };
  return encodeValue(spec).bytes;
}

/** A plugin that writes down what happens to it. */
const NOTING = `async (file, what) => {
  const { appendFileSync } = await import('node:fs');
  const note = (text) => appendFileSync(file, what + ' ' + text + '\\n');
  return {
    setup: (worker) => note('up ' + JSON.stringify([worker.name, worker.nthreads, worker.resources])),
    teardown: (worker) => note('down ' + worker.address),
    transition: (...all) => note(all.join(' ')),
  };
}`;

async function noted(): Promise<string[]> {
  return (await readFile(join(directory, 'notes'), 'utf8')).trim().split('\n');
}

test('a plugin is set up once, replaced by another of its name, and torn down', async () => {
  const file = join(directory, 'notes');
  expect(await host.set('p', source(NOTING, [file, 'one']))).toBe(null);
  expect(await host.set('p', source(NOTING, [file, 'one']))).toBe(null);
  host.moveTo('tcp://w:1');
  expect(await host.set('p', source(NOTING, [file, 'two']))).toBe(null);
  expect(await host.set('p', null)).toBe(null);
  expect(await host.set('p', null)).toBe(null);
  expect(await noted()).toEqual([
    'one up ["w",2,[["GPU",1]]]',
    'one down tcp://w:1',
    'two up ["w",2,[["GPU",1]]]',
    'two down tcp://w:1',
  ]);
});

test('closing tears all down, those that a scheduler had registered before when it is lost', async () => {
  const file = join(directory, 'notes');
  await writeFile(
    join(directory, 'own.mjs'),
    `import { appendFileSync } from 'node:fs';
    export default class {
      constructor(file) { this.file = file; }
      teardown() { appendFileSync(this.file, 'own down\\n'); }
    }`,
  );
  await host.preload([pathToFileURL(join(directory, 'own.mjs')).href], [file]);
  await host.set('p', source(NOTING, [file, 'p']));
  host.forgetRegistered();
  // It waits for its turn: the old one is gone before the new one is there.
  await host.set('q', source(NOTING, [file, 'q']));
  expect((await noted()).slice(1, 2)).toEqual(['p down null']);
  await host.close();
  expect((await noted()).slice(3).toSorted()).toEqual(['own down', 'q down null']);
  expect((await host.set('late', source(NOTING, [file, 'late'])))?.message).toContain('is ending');
});

test('transitions come in order, and only where they are wanted', async () => {
  const { transitions } = host;
  await host.set('quiet', source('() => ({ setup() {} })'));
  expect(transitions.listeners).toHaveLength(0);
  const file = join(directory, 'notes');
  await host.set('noting', source(NOTING, [file, '>']));
  expect(transitions.listeners).toHaveLength(1);
  transitions.began(1, 'a');
  transitions.began(2, 'b');
  transitions.moved(1, 'memory');
  transitions.moved(2, 'seceded');
  transitions.moved(7, 'memory');
  transitions.moved(2, 'erred');
  await new Promise((flushed) => setImmediate(flushed));
  await host.set('noting', null);
  expect((await noted()).slice(1, -1)).toEqual([
    '> a ready executing',
    '> b ready executing',
    '> a executing memory',
    '> b executing seceded',
    '> b seceded erred',
  ]);
  expect(transitions.listeners).toHaveLength(0);
});

test('a plugin that does not keep up misses transitions, and the log says so', async () => {
  const gate = join(directory, 'gate');
  const slow = `async (path) => {
    const { existsSync } = await import('node:fs');
    return { transition: () => { while (!existsSync(path)); } };
  }`;
  await host.set('slow', source(slow, [gate]));
  const { transitions } = host;
  for (let round = 0; round < 3; round++) {
    for (let run = 0; run < 4_000; run++) transitions.began(run, `key-${run}`);
    await new Promise((flushed) => setImmediate(flushed));
  }
  await writeFile(gate, '');
  await host.set('slow', null);
  expect(log.join('\n')).toContain('plugin slow does not keep up: it missed 4000 transitions');
});

test.each([
  ['throws', "() => ({ setup() { throw new TypeError('no disk'); } })", 'TypeError: no disk'],
  ['throws while it is made', "() => { throw new Error('no'); }", 'Error: no'],
  ['ends its thread', '() => ({ setup() { process.exit(3); } })', 'process.exit(3)'],
  ['hangs', '() => ({ setup: () => new Promise(() => {}) })', 'took longer than'],
  ['never lets go', '() => ({ setup() { for (;;); } })', 'took longer than'],
  ['is no function', '42', 'does not evaluate to a function'],
])('a setup that %s is a failure that says so', async (_what, text, why) => {
  const failure = await host.set(
    'odd',
    source(text, [], 500 + (why.startsWith('took') ? 0 : 19_000)),
  );
  expect(failure).toMatchObject({ code: 'ERR_PLUGIN', worker: 'w' });
  expect(failure?.message).toContain(why);
  expect(await host.set('fine', source('() => ({ setup() {} })'))).toBe(null);
});

test('bytes that are no plugin are refused', async () => {
  const { bytes } = encodeValue({ code: 1 });
  expect((await host.set('odd', bytes))?.message).toBe('this is no plugin');
  expect((await host.set('odd', new Uint8Array([255, 1])))?.message).toBe('this is no plugin');
});

test('a teardown that hangs or throws ends all the same, in bounded time', async () => {
  const bounded = aHost(300);
  await bounded.set('hanging', source('() => ({ teardown() { for (;;); } })'));
  await bounded.set('throwing', source("() => ({ teardown() { throw new Error('no'); } })"));
  await bounded.close();
  expect(log.join('\n')).toContain('the teardown of plugin hanging failed: its teardown took');
  expect(log.join('\n')).toContain('the teardown of plugin throwing failed: Error: no');
});

test('closing does not wait for a setup that hangs', async () => {
  const bounded = aHost(300);
  const hanging = bounded.set('hanging', source('() => ({ setup: () => new Promise(() => {}) })'));
  await new Promise((started) => setImmediate(started));
  await bounded.close();
  expect((await hanging)?.message).toContain('its thread ended');
});

test('what a plugin sets in the environment reaches the worker before setup ends', async () => {
  const set = '(vars) => ({ setup: (worker) => worker.setEnvironment(vars) })';
  await host.set('env', source(set, [{ A: 'x', B: null }]));
  expect(environment).toEqual([{ A: 'x', B: null }]);
});
