/** The entry that modules of tasks import, `@farm/worker/task`. */
import { FarmError } from '@farm/protocol';
import { taskContext } from '@farm/worker/task';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

import { Harness } from './executor-harness.ts';
import { keyOrCode } from './task-module.ts';

const ENTRY = new URL('../../src/task.ts', import.meta.url).href;

describe.each(['threads', 'processes'] as const)('a module of a task in %s', (functionsIn) => {
  test('learns of the task, while it is loaded and after an await', async () => {
    await using harness = new Harness({ functionsIn });
    const url = new URL('./task-module.ts', import.meta.url).href;
    const tell = harness.define('tell', { kind: 'module', name: 'tell', url, exportName: 'tell' });
    for (const [key, attempt] of [
      ['first', 1],
      ['second', 3],
    ] as const) {
      const run = harness.start(tell, ['hello'], { key, attempt });
      await harness.end(run);
      expect(harness.results.get(run)).toEqual(['hello', 'first', key, String(attempt), 'w-1']);
    }
  });
});

test('outside a task it is an error of its own that says so', () => {
  expect(keyOrCode()).toBe('ERR_ARGUMENT');
  expect(taskContext).toThrow(FarmError);
  expect(taskContext).toThrow('taskContext() was called outside a task: only a function that a');
});

test('importing it brings nothing of the worker along, and nothing that is installed', async () => {
  const program = `
    const { registerHooks } = await import('node:module');
    const urls = [];
    registerHooks({
      load(url, context, next) {
        urls.push(url);
        return next(url, context);
      },
    });
    await import(${JSON.stringify(ENTRY)});
    console.log(JSON.stringify(urls));
  `;
  const args = ['--conditions=@farm/source', '--input-type=module', '-e', program];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  // SAFE: the program above printed it.
  const urls = JSON.parse(stdout) as readonly string[];
  expect(urls).toContain(ENTRY);
  const others = urls.filter((url) => !/\/packages\/protocol\/src\/core\//.test(url));
  expect(others.map((url) => url.slice(url.indexOf('/packages/')))).toEqual([
    '/packages/worker/src/task.ts',
    '/packages/worker/src/shell/executors/threads/task-context.ts',
  ]);
});
