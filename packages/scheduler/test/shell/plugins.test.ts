/** Goal: plugins are loaded, told and closed, and nothing they do harms the scheduler. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { silentLogger } from '@farm/protocol';
import type { Logger, PluginParams } from '@farm/protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { PLUGIN_THROWS_MAX, PluginHost } from '../../src/shell/plugins.ts';
import type { SchedulerView } from '../../src/shell/plugins.ts';

let folder: string;
const logged: string[] = [];
const note = (message: string): void => void logged.push(message);
const logger: Logger = { ...silentLogger, info: note, warn: note, error: note };
const view: SchedulerView = {
  id: 'Scheduler-1',
  address: 'tcp://127.0.0.1:1',
  info: () => {
    throw new Error('not asked for here');
  },
};

/** What plugins of these tests leave behind: text by text. */
const calls: string[] = [];
Object.defineProperty(globalThis, Symbol.for('farm.test.plugin-calls'), { value: calls });

async function plugin(name: string, body: string): Promise<string> {
  const path = join(folder, name);
  const head = `const calls = globalThis[Symbol.for('farm.test.plugin-calls')];\n`;
  await writeFile(path, head + body);
  return path;
}

function params(path: string, fields: Partial<PluginParams> = {}): PluginParams {
  return { name: 'p', module: pathToFileURL(path).href, args: [], ...fields };
}

const left = { kind: 'removeWorker', about: { name: 'w', reason: 'gone' } } as const;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'farm-plugins-'));
});
afterAll(async () => rm(folder, { recursive: true, force: true }));
beforeEach(() => {
  calls.length = 0;
  logged.length = 0;
});

describe('a preloaded plugin', () => {
  test('is started, told what it has a method for, and closed once', async () => {
    const path = await plugin(
      'full.ts',
      `type Left = { readonly name: string };
       export default {
         name: 'full',
         start: ({ address }: { address: string }) => void calls.push('start ' + address),
         removeWorker({ name }: Left) { calls.push(this.name + ' ' + name); },
         close: () => void calls.push('close'),
       };`,
    );
    const host = new PluginHost(logger);
    expect(host.observing).toBe('nothing');
    await host.preload(path, []);
    expect([host.names, host.observing]).toEqual([['full'], 'events']);
    host.start(view);
    host.observe(left);
    host.observe({ kind: 'addClient', about: { id: 'c', name: 'c' } });
    host.close();
    host.close();
    host.observe(left);
    expect(calls).toEqual(['start tcp://127.0.0.1:1', 'full w', 'close']);
  });

  test('may be made by a function of the arguments, and be several', async () => {
    const path = await plugin(
      'several.mjs',
      `export default (args) => args.map((arg, index) => ({
         ...(index === 0 ? { name: arg } : {}),
         transition: () => {},
       }));`,
    );
    const host = new PluginHost(logger);
    await host.preload(path, ['first', 'second']);
    expect([host.names, host.observing]).toEqual([['first', 'several-1'], 'all']);
    await expect(host.preload(path, ['first'])).rejects.toThrow('two plugins named first');
  });

  test.each([
    ['missing.mjs', null, /missing\.mjs cannot be loaded/],
    ['throws.mjs', `throw new Error('not today');`, /cannot be loaded: not today/],
    ['nothing.mjs', `export const other = 1;`, /its default export is no plugin/],
    ['empty.mjs', `export default {};`, /has none of the methods/],
    ['wrong.mjs', `export default { addWorker: 7 };`, /addWorker of its plugin is not a function/],
    ['name.mjs', `export default { name: 7, close() {} };`, /name of its plugin is not text/],
  ])('is refused with a reason: %s', async (name, body, message) => {
    const path = body === null ? join(folder, name) : await plugin(name, body);
    const host = new PluginHost(logger);
    const text: unknown = expect.stringMatching(message);
    await expect(host.preload(path, [])).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: text,
    });
    expect(host.names).toEqual([]);
  });

  test('is never source text, nor fetched from elsewhere', async () => {
    const host = new PluginHost(logger);
    for (const module of [
      'data:text/javascript,0',
      'http://h/p.js',
      'node:fs',
      'no-such-package',
    ]) {
      await expect(host.preload(module, [])).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    }
  });
});

describe('a plugin that throws', () => {
  test('is logged with its name and what it threw in, while others are told', async () => {
    const bad = await plugin(
      'bad.mjs',
      `export default { removeWorker() { throw new Error('oops'); }, close() { throw 1; } };`,
    );
    const good = await plugin(
      'good.mjs',
      `export default { removeWorker: () => calls.push('g') };`,
    );
    const host = new PluginHost(logger);
    await host.preload(bad, []);
    await host.preload(good, []);
    host.start(view);
    host.observe(left);
    host.close();
    expect(calls).toEqual(['g']);
    expect(logged).toContainEqual(
      expect.stringMatching(/^plugin bad threw in removeWorker: Error: oops/),
    );
    expect(logged).toContain('plugin bad threw in close: 1');
  });

  test('too often is disabled', async () => {
    const path = await plugin('often.mjs', `export default { removeWorker() { throw 1; } };`);
    const host = new PluginHost(logger);
    await host.preload(path, []);
    for (let at = 0; at < PLUGIN_THROWS_MAX + 5; at++) host.observe(left);
    expect(logged.filter((line) => line.includes('threw in removeWorker')).length).toBe(
      PLUGIN_THROWS_MAX,
    );
    expect(logged.at(-1)).toBe('plugin often threw 100 times and is disabled');
    expect([host.names, host.observing]).toEqual([[], 'nothing']);
  });

  test('later, in an async method, is logged too', async () => {
    const path = await plugin(
      'async.mjs',
      `export default { async removeWorker() { throw new Error('later'); } };`,
    );
    const host = new PluginHost(logger);
    await host.preload(path, []);
    host.observe(left);
    await Promise.resolve();
    expect(logged).toContainEqual(expect.stringMatching(/^plugin async threw in removeWorker: /));
  });
});

describe('a plugin that a client asks for', () => {
  test('is loaded once under its name', async () => {
    const path = await plugin(
      'asked.mjs',
      `export default ([word]) => ({ start: () => calls.push('start ' + word) });`,
    );
    const host = new PluginHost(logger);
    host.start(view);
    const asked = params(path, { args: ['hello'] });
    const outcomes = await Promise.all([host.register(asked), host.register(asked)]);
    expect(outcomes).toEqual([
      { isNew: true, failure: null },
      { isNew: false, failure: null },
    ]);
    expect(calls).toEqual(['start hello']);
    const other = await plugin('other.mjs', `export default { close() {} };`);
    const { failure } = await host.register(params(other));
    expect(failure).toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(failure?.message).toContain('plugin p is another module');
  });

  test('that cannot be loaded or started is refused with the reason', async () => {
    const unstartable = await plugin(
      'unstartable.mjs',
      `export default { start() { throw new Error('no disk'); } };`,
    );
    const host = new PluginHost(logger);
    host.start(view);
    const refused = async (asked: PluginParams): Promise<string | undefined> =>
      (await host.register(asked)).failure?.message;
    expect(await refused(params(unstartable))).toBe('plugin p: no disk');
    expect(await refused(params(join(folder, 'none.mjs')))).toContain('cannot be loaded');
    expect(await refused(params('', { module: './p.mjs' }))).toContain('not from "./p.mjs"');
    expect(await refused(params('', { module: 'data:text/javascript,0' }))).toContain('not from');
    expect(host.names).toEqual([]);
  });

  test('and that is unregistered is closed once, told nothing more, and may be loaded again', async () => {
    const path = await plugin(
      'leaving.mjs',
      `export default () => ({
         start: () => calls.push('start'),
         removeWorker: () => calls.push('told'),
         close: () => { calls.push('close'); throw new Error('no'); },
       });`,
    );
    const host = new PluginHost(logger);
    host.start(view);
    const outcomes = [host.register(params(path)), host.unregister('p'), host.unregister('p')];
    expect(await Promise.all(outcomes)).toEqual([{ isNew: true, failure: null }, true, false]);
    host.observe(left);
    expect([host.observing, host.names]).toEqual(['nothing', []]);
    expect(calls).toEqual(['start', 'close']);
    expect(logged).toContainEqual(expect.stringMatching(/^plugin p threw in close: Error: no/));
    await host.register(params(path));
    host.observe(left);
    host.close();
    expect(calls).toEqual(['start', 'close', 'start', 'told', 'close']);
  });
});
