/** What a user reads whose program does not catch an error. */
import { LocalCluster } from '@farm/cluster';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const SCRIPT = fileURLToPath(new URL('./fixtures/uncaught.ts', import.meta.url));
const URL_OF_SCRIPT = pathToFileURL(SCRIPT).href;
const SOURCE: readonly string[] = readFileSync(SCRIPT, 'utf8').split('\n');

let cluster: LocalCluster;

beforeAll(async () => {
  cluster = await LocalCluster.start({ workers: 1, threadsPerWorker: 1, dashboardAddress: null });
});

afterAll(async () => {
  await cluster.close();
});

/** What the program writes to standard error. */
function readError(which: string): Promise<string> {
  const args = [...process.execArgv, SCRIPT, which, cluster.schedulerFile];
  return new Promise((resolve) => {
    execFile(process.execPath, args, (_error, _stdout, stderr) => resolve(stderr));
  });
}

/** The line of the script that has this text, from 1. */
function lineOf(text: string): number {
  const line = SOURCE.findIndex((source) => source.includes(text)) + 1;
  if (line === 0) throw new Error(`the script has no ${text}`);
  return line;
}

/** What Node shows above an error: where it comes from, with a mark below the place. */
function shown(stderr: string): readonly [where: string, source: string] {
  const [where = '', source = '', mark = ''] = stderr.split('\n');
  expect(mark).toMatch(/^ *\^+$/);
  return [where, source];
}

function expectNothingOfFarm(stderr: string): void {
  expect(stderr.match(/.*packages\/(?:client|protocol|worker)\/.*/g)).toBeNull();
}

const THROWN = 'Error [SolverError]: no convergence of 3';
const REMOTE = '\n    at iterate (farm:///solve-1:7:22)\n    at solve (farm:///solve-1:10:10)';
const TASK = '\n    at task solve (on worker local-0)';

/** A frame of the program in the line that has this text; columns are left out of what is compared. */
function frame(what: string, at: string): string {
  return `\n    at ${what}(${URL_OF_SCRIPT}:${lineOf(at)})`;
}

function withoutColumns(stderr: string): string {
  return stderr.replaceAll(/(uncaught\.ts:\d+):\d+/g, '$1').replaceAll(/solve-\d+:/g, 'solve-1:');
}

test.each([
  ['result', 'await future.result()', 'const future = failing'],
  ['then', 'await text', 'const text = failing'],
  ['gather', 'await client.gather(', 'await client.gather('],
  ['as-completed', 'for await (const one of', 'for await (const one of'],
])('what a task threw, at %s: its own frames, then those of the program', async (which, at, by) => {
  const stderr = await readError(which);
  const line = lineOf(at);
  expect(shown(stderr)).toEqual([`${URL_OF_SCRIPT}:${line}`, SOURCE[line - 1]]);
  const text = withoutColumns(stderr);
  const here = frame('submit ', by) + frame('async main ', at);
  expect(text).toContain(`\n\n${THROWN}${REMOTE}${TASK}${here}`);
  expect(text).toContain(
    'step: 7,\n  [cause]: RangeError: large\n      at iterate (farm:///solve-1:7:',
  );
  expectNothingOfFarm(stderr);
});

test('what a task threw that was needed by another', async () => {
  const stderr = await readError('dependency');
  const at = 'await sum.result()';
  const task = '\n    at task solve (on worker local-0, needed by sum)';
  const thrown = `\n\n${THROWN}${REMOTE}${task}${frame('async main ', at)}`;
  expect(withoutColumns(stderr)).toContain(thrown);
  expectNothingOfFarm(stderr);
});

test('what a task threw, awaited outside of functions', async () => {
  const stderr = await readError('top-level');
  const line = lineOf("which === 'top-level'");
  expect(shown(stderr)).toEqual([`${URL_OF_SCRIPT}:${line}`, SOURCE[line - 1]]);
  expect(withoutColumns(stderr)).toContain(`\n    at async ${URL_OF_SCRIPT}:${line} {`);
  expectNothingOfFarm(stderr);
});

test.each([
  ['command', 'command sh exited with code 3', "command('sh'"],
  ['timeout', 'there was no result within 50 ms', 'timeoutMs: 50'],
  ['argument', 'a function cannot travel inside a value', 'notPlain);'],
  ['free-variable', 'closes', 'client.map(closes'],
  ['option', 'retries', 'retries: -1'],
])(
  'what farm reports, of a %s: the message, and where the program asked',
  async (which, text, at) => {
    const stderr = await readError(which);
    const line = lineOf(at);
    expect(shown(stderr)).toEqual([`${URL_OF_SCRIPT}:${line}`, SOURCE[line - 1]]);
    expect(stderr.split('\n\n')[1]).toContain(text);
    expect(stderr).toMatch(/\n    at (?:async )?main /);
    expectNothingOfFarm(stderr);
  },
);
