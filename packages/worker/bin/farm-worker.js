#!/usr/bin/env node
// Starts a farm worker. Plain JavaScript that an old Node parses too, so that it says what is wrong
// instead of failing with a SyntaxError somewhere inside.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 16)) {
  console.error(
    `farm-worker needs Node 22.16 or newer, and this is Node ${process.versions.node}; ` +
      'inside the farm repository, "npx farm-worker" runs it with the Node that belongs to it',
  );
  process.exit(1);
}

const source = new URL('../src/shell/cli.ts', import.meta.url);
const built = new URL('../dist/shell/cli.js', import.meta.url);
// Only a checkout of the repository has sources, and only a Node that can strip types runs them.
const fromSource = existsSync(source) && Boolean(process.features.typescript);

const flags = (fromSource ? ['--conditions=@farm/source'] : []).filter(
  (flag) => !process.execArgv.includes(flag),
);

if (flags.length > 0 && process.platform !== 'win32' && typeof process.execve === 'function') {
  // Replaces this process with the same one under those flags: the process id, the standard streams
  // and the environment stay. A child process instead would survive a kill of this one.
  const self = fileURLToPath(import.meta.url);
  const rest = process.argv.slice(2);
  process.execve(process.execPath, [
    process.execPath,
    ...process.execArgv,
    ...flags,
    self,
    ...rest,
  ]);
}

// Where the process cannot be replaced, the condition that leads to the sources cannot be set.
const entry = fromSource && process.execArgv.includes('--conditions=@farm/source') ? source : built;
if (entry === built && !existsSync(built)) {
  console.error('farm-worker is not built: run "npm run build" in the farm repository first');
  process.exit(1);
}
const { main } = await import(entry.href);
await main(process.argv.slice(2));
