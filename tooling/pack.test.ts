import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  cp,
  mkdir,
  mkdtemp,
  open,
  readFile,
  readdir,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const PACKAGES = ['protocol', 'scheduler', 'worker', 'client', 'cluster'];

/** What `npm pack --json` tells of one package. */
interface Packed {
  readonly name: string;
  readonly filename: string;
  readonly files: readonly { readonly path: string; readonly mode: number }[];
}

let folder = '';
/** An empty project into which the packed packages are installed. */
let project = '';
let packed: readonly Packed[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'farm-pack-'));
  project = join(folder, 'project');
  packed = await packPackages();
  await installPackages();
}, 90_000);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe.each(PACKAGES)('the package of @farm/%s', (name) => {
  const find = (): Packed => {
    const found = packed.find((each) => each.name === `@farm/${name}`);
    if (found === undefined) throw new Error(`@farm/${name} was not packed`);
    return found;
  };

  test('holds what its manifest promises', async () => {
    const paths = find().files.map(({ path }) => path);
    const text = await readFile(join(ROOT, 'packages', name, 'package.json'), 'utf8');
    // SAFE: npm itself reads these fields so
    const { exports, bin } = JSON.parse(text) as {
      readonly exports: Readonly<
        Record<string, string | { readonly types: string; readonly default: string }>
      >;
      readonly bin?: Readonly<Record<string, string>>;
    };
    const promised = Object.values(exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : [entry.types, entry.default],
    );
    const commands = Object.values(bin ?? {});
    const wanted = [...promised.map((path) => path.replace('./', '')), ...commands, 'LICENSE'];
    expect(paths).toEqual(expect.arrayContaining(wanted));
    const executable = find().files.filter(({ mode }) => (mode & 0o111) !== 0);
    expect(executable.map(({ path }) => path)).toEqual(commands);
  });

  test('holds nothing else', () => {
    const paths = find().files.map(({ path }) => path);
    const known = /^(?:package\.json|LICENSE|bin\/[\w-]+\.js|dist\/.*\.(?:d\.ts|js|js\.map))$/;
    expect(paths.filter((path) => !known.test(path))).toEqual([]);
  });
});

describe('a project with the packages installed', () => {
  test('has a consistent tree of dependencies', async () => {
    await expect(run('npm', ['ls', '--all'])).resolves.toContain('@farm/client');
  });

  test.each(['farm-scheduler', 'farm-worker'])('has %s', async (command) => {
    const printed = await run(join('node_modules', '.bin', command), ['--version']);
    expect(printed).toMatch(/\d+\.\d+\.\d+/);
  });

  test('type-checks a script against the published declarations', async () => {
    await writeScript();
    const options = {
      target: 'es2024',
      lib: ['es2024', 'esnext.disposable'],
      module: 'nodenext',
      strict: true,
      skipLibCheck: false,
      erasableSyntaxOnly: true,
      allowImportingTsExtensions: true,
      noEmit: true,
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules', '@types')],
    };
    const config = { compilerOptions: options, include: ['*.ts'] };
    await writeFile(join(project, 'tsconfig.json'), JSON.stringify(config));
    await expect(run(join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', '.'])).resolves.toBe('');
  });

  test('runs a script on a scheduler and a worker', async () => {
    await writeScript();
    const log = join(project, 'processes.log');
    await using output = await open(log, 'a');
    onTestFailed(async () => console.error(await readFile(log, 'utf8')));
    const start = (command: string, args: readonly string[]): ChildProcess =>
      spawn(join('node_modules', '.bin', command), args, {
        cwd: project,
        env,
        stdio: ['ignore', output.fd, output.fd],
      });
    const file = ['--scheduler-file', 'scheduler.json'];
    const scheduler = start('farm-scheduler', [...file, '--port', '0', '--no-dashboard']);
    const worker = start('farm-worker', [...file, '--nthreads', '1']);
    const ends = Promise.all([scheduler, worker].map(exitCode));
    try {
      const printed = await run('node', ['script.ts']);
      expect(JSON.parse(printed)).toEqual({
        squares: [1, 4, 9],
        echoed: 'hello\n',
        keys: ['named', 'named-too'],
      });
      expect(await ends).toEqual([0, 0]);
    } finally {
      for (const child of [scheduler, worker]) child.kill('SIGKILL');
    }
  });
});

/** What a user might write; it ends the cluster, so that its processes can be waited for. */
const SCRIPT = `
import { Client, arg, command, fromModule } from '@farm/client';
import type { TaskContext } from '@farm/worker/task';

import { ownKey } from './own-key.ts';

const client = new Client({ schedulerFile: 'scheduler.json' });
const squares: number[] = await client.gather(client.map((x: number) => x ** 2, [1, 2, 3]));
const echoed = await client.submit(command('echo', [arg(0)]), 'hello').result();
const module = new URL('./own-key.ts', import.meta.url);
const keys: TaskContext['key'][] = await client.gather([
  client.with({ key: 'named' }).submit(fromModule<typeof ownKey>(module, 'ownKey')),
  client.with({ key: 'named-too', executor: 'processes' }).submit(
    fromModule<typeof ownKey>(module, 'ownKey'),
  ),
]);
console.log(JSON.stringify({ squares, echoed: echoed.stdout, keys }));
await client.shutdown();
`;

/** A module of its tasks, which the script imports, too. */
const MODULE = `
import { taskContext } from '@farm/worker/task';

export function ownKey(): string {
  return taskContext().key;
}
`;

async function writeScript(): Promise<void> {
  await writeFile(join(project, 'own-key.ts'), MODULE);
  await writeFile(join(project, 'script.ts'), SCRIPT);
}

/** Builds and packs a copy of the sources, so that nothing left from an earlier build gets in. */
async function packPackages(): Promise<readonly Packed[]> {
  const stage = join(folder, 'stage');
  await mkdir(join(stage, 'tooling'), { recursive: true });
  const rootFiles = ['package.json', 'tsconfig.base.json', 'LICENSE', 'tooling/copy-license.mjs'];
  for (const file of rootFiles) await cp(join(ROOT, file), join(stage, file));
  await cp(join(ROOT, 'packages'), join(stage, 'packages'), {
    recursive: true,
    filter: (path) => !['dist', 'test', 'node_modules', 'LICENSE'].includes(basename(path)),
  });
  const modules = join(stage, 'node_modules');
  await mkdir(join(modules, '@farm'), { recursive: true });
  for (const entry of await readdir(join(ROOT, 'node_modules'))) {
    if (entry !== '@farm') await symlink(join(ROOT, 'node_modules', entry), join(modules, entry));
  }
  for (const name of PACKAGES) {
    await symlink(join(stage, 'packages', name), join(modules, '@farm', name));
    // What npm could not put at the root, for another package wants another version of it.
    const own = join('packages', name, 'node_modules');
    if (existsSync(join(ROOT, own))) await symlink(join(ROOT, own), join(stage, own));
  }
  await run('node', [join(ROOT, 'node_modules', '.bin', 'tsc'), '-b', 'packages/cluster'], stage);
  const printed = await run('npm', ['pack', '--workspaces', '--json'], stage);
  return JSON.parse(printed) as readonly Packed[]; // SAFE: the format of npm's own output
}

async function installPackages(): Promise<void> {
  await mkdir(project);
  await writeFile(join(project, 'package.json'), '{ "private": true, "type": "module" }');
  const tarballs = packed.map(({ filename }) => join(folder, 'stage', filename));
  await run('npm', ['install', '--prefer-offline', ...tarballs]);
  expect(existsSync(join(project, 'node_modules', '@farm', 'client'))).toBe(true);
}

/** As on the host of a user, who has this Node and no sources of farm. */
const env: NodeJS.ProcessEnv = { ...process.env };
env['PATH'] = [dirname(process.execPath), env['PATH']].join(delimiter);
for (const name of Object.keys(env)) {
  // This test's own npm and vitest speak to their children through these.
  if (/^(?:npm_(?:package|lifecycle|config_local)|NODE_(?:OPTIONS|ENV)$|VITEST|FARM_)/.test(name))
    delete env[name];
}

/** Resolves to what a command prints; rejects with all it said if it fails. */
function run(command: string, args: readonly string[], cwd: string = project): Promise<string> {
  return new Promise((resolve, reject) => {
    // A command that hangs fails with what it has said, before the test or hook runs out of time.
    const options = { cwd, env, timeout: command === 'npm' ? 60_000 : 25_000 };
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${command} ${args.join(' ')}\n${stdout}${stderr}`, { cause: error }));
    });
  });
}

function exitCode(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? signal));
  });
}
