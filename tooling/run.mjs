// Runs one step of the repository with the Node it pins: `node tooling/run.mjs <step> [arguments]`.
// Installs what is missing first. The host's own Node runs this file, and may be as old as Node 20.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(ROOT, 'node_modules');
const BIN = join(MODULES, '.bin');
const LOCK = join(ROOT, 'package-lock.json');
const PINNED_NODE = join(
  MODULES,
  'node',
  'bin',
  process.platform === 'win32' ? 'node.exe' : 'node',
);
const HOST_PATH = pathWithout(join('node_modules', '.bin'));
const PINNED_PATH = [BIN, HOST_PATH].join(delimiter);

/** What each step runs, in order; the last command also gets the arguments of the step. */
const STEPS = {
  setup: [],
  start: [['node', '--conditions=@farm/source', 'examples/task-farm/run.ts']],
  node: [['node', '--conditions=@farm/source']],
  sim: [['node', '--conditions=@farm/source', 'sim/cli.ts']],
  build: [['tsc', '-b', 'packages/cluster']],
  check: [['tsc', '-b']],
  lint: [['oxlint', '--type-aware', '--deny-warnings']],
  format: [['oxfmt']],
  test: [
    ['oxfmt', '--check'],
    ['tsc', '-b'],
    ['oxlint', '--type-aware', '--deny-warnings'],
    ['vitest', 'run'],
  ],
};

const [step = '', ...args] = process.argv.slice(2);
const commands = STEPS[step];
/** Whether the output is that of a program the user runs, which nothing is added to. */
const isQuiet = step === 'start' || step === 'node';
if (commands === undefined) {
  console.error(`no step "${step}"; there is: ${Object.keys(STEPS).join(', ')}`);
  process.exit(2);
}
await setUp();
for (const [index, command] of commands.entries()) {
  const isLast = index === commands.length - 1;
  const argv = isLast ? [...command, ...args] : command;
  if (!isQuiet) console.log(`\n> ${argv.join(' ')}`);
  const [name, ...rest] = argv;
  const script = name === 'node' ? [] : [join(BIN, name)];
  const status = await run(PINNED_NODE, [...script, ...rest], PINNED_PATH);
  if (status !== 0) {
    if (!isQuiet) console.error(`\n> ${argv.join(' ')} failed`);
    process.exit(status);
  }
}

/** Installs the packages of the lock file, unless that is what is installed. */
async function setUp() {
  const stamp = join(MODULES, '.farm-setup');
  const wanted = createHash('sha256').update(readFileSync(LOCK)).digest('hex');
  if (isInstalled(stamp, wanted)) return;
  console.log('Installing the packages of package-lock.json; the first time takes a minute.');
  // Not `npm ci`: it refuses a lock file that lacks optional packages of other platforms, and some
  // registries do not carry those. Some packages ask for a newer Node than the host's: they run
  // with the pinned one, so npm's warnings about it are of no use to anybody.
  const install = ['install', '--no-save', '--prefer-offline', '--loglevel=error'];
  const status = await run('npm', install, HOST_PATH);
  if (status !== 0) {
    console.error(`npm ${install.join(' ')} failed with exit status ${status}; nothing was run`);
    process.exit(status);
  }
  if (!existsSync(PINNED_NODE)) {
    console.error(
      `npm did not install the pinned Node, ${PINNED_NODE}. Its package has an install script; ` +
        'where npm is set to ignore those, run: npm rebuild node --ignore-scripts=false',
    );
    process.exit(1);
  }
  writeFileSync(stamp, wanted);
}

function isInstalled(stamp, wanted) {
  if (!existsSync(PINNED_NODE)) return false;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return true;
  // A plain `npm install` leaves no stamp, but its own record of what it installed.
  const record = join(MODULES, '.package-lock.json');
  return existsSync(record) && statSync(record).mtimeMs >= statSync(LOCK).mtimeMs;
}

/** Runs a command to its end, passes signals on to it, and resolves to its exit status. */
function run(command, argv, path) {
  return new Promise((resolve) => {
    const child = spawn(command, argv, {
      cwd: ROOT,
      stdio: 'inherit',
      env: { ...process.env, PATH: path },
      shell: process.platform === 'win32' && command === 'npm',
    });
    const forward = (signal) => {
      // A terminal sends Ctrl-C to every process in the foreground, so to the child as well.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, forward);
    const end = (status) => {
      for (const signal of signals) process.off(signal, forward);
      resolve(status);
    };
    child.once('error', (error) => {
      console.error(`${command} could not be started: ${error.message}`);
      end(127);
    });
    child.once('exit', (code, signal) => end(code ?? 128 + constants.signals[signal]));
  });
}

/** PATH without the folders that end in the given one. */
function pathWithout(folder) {
  const parts = (process.env.PATH ?? '').split(delimiter);
  return parts.filter((part) => !part.endsWith(sep + folder)).join(delimiter);
}
