/** The entry of a plugin's thread: makes the plugin and calls its methods when it is told to. */
import { inspect } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';

import { FarmError } from '@farm/protocol/core';
import { decodeValue, encodeError, errorText } from '@farm/protocol/value';
import type { PluginSpec } from '@farm/protocol';

import { resolveLocally } from '../executors/local-modules.ts';
import { errorName } from '../executors/threads/run-function.ts';
import type { PackedFailure } from '../executors/threads/thread-messages.ts';
import { loadPlugins } from './load-plugin.ts';
import type { PluginBoundMessage, PluginSaid, PluginThreadData } from './plugin-messages.ts';
import type { PluginWorker, WorkerPlugin } from './worker-plugin.ts';

// SAFE: PluginThread starts this file with exactly this.
const { spec, worker: about } = workerData as PluginThreadData;
const port = parentPort;
if (port === null) throw new FarmError('ERR_INTERNAL', 'the entry of a plugin runs in no thread');

let plugins: readonly WorkerPlugin[] = [];
let { address } = about;
let requests = 0;
const environmentSet = new Map<number, () => void>();

const worker: PluginWorker = {
  ...about,
  get address() {
    return address;
  },
  pid: process.pid,
  log: (message, level = 'info') => say({ say: 'log', level, message }),
  setEnvironment: async (changes) => {
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) delete process.env[name];
      else process.env[name] = value;
    }
    const request = requests++;
    const { promise, resolve } = Promise.withResolvers<void>();
    environmentSet.set(request, resolve);
    say({ say: 'environment', request, changes: { ...changes } });
    await promise;
  },
};

resolveLocally(about.localDirectory);
process.on('uncaughtException', (error: unknown) => threw('a callback', error));
process.on('unhandledRejection', (reason) => threw('a promise nobody waits for', reason));

// Calls follow one another, whatever they take.
let last: Promise<void> = Promise.resolve();
port.on('message', (message: PluginBoundMessage) => {
  switch (message.do) {
    case 'address':
      address = message.address;
      break;
    case 'environment-set':
      environmentSet.get(message.request)?.();
      environmentSet.delete(message.request);
      break;
    case 'setup':
      last = last.then(setUp);
      break;
    case 'teardown':
      last = last.then(tearDown);
      break;
    case 'transitions':
      last = last.then(() => move(message.transitions));
      break;
    default:
      message satisfies never;
  }
});

async function setUp(): Promise<void> {
  let failure: PackedFailure | null = null;
  try {
    // SAFE: a client encodes nothing else as a plugin; what its parts are is checked in use.
    plugins = await loadPlugins(decodeValue(spec) as PluginSpec);
    for (const plugin of plugins) await plugin.setup?.(worker);
  } catch (error) {
    failure = packed(error);
  }
  const wantsTransitions = plugins.some((plugin) => plugin.transition !== undefined);
  say({ say: 'setup-ended', failure, wantsTransitions });
}

async function tearDown(): Promise<void> {
  let failure: PackedFailure | null = null;
  for (const plugin of plugins.toReversed()) {
    try {
      await plugin.teardown?.(worker);
    } catch (error) {
      failure ??= packed(error);
    }
  }
  say({ say: 'torn-down', failure });
}

async function move(
  transitions: Extract<PluginBoundMessage, { readonly do: 'transitions' }>['transitions'],
): Promise<void> {
  for (const [key, from, to] of transitions) {
    for (const plugin of plugins) {
      try {
        await plugin.transition?.(key, from, to);
      } catch (error) {
        threw('transition', error);
      }
    }
  }
  say({ say: 'transitions-seen', count: transitions.length });
}

function packed(error: unknown): PackedFailure {
  return { message: errorText(error), error: encodeError(error), name: errorName(error) };
}

function threw(where: string, error: unknown): void {
  say({ say: 'threw', where, text: inspect(error) });
}

function say(said: PluginSaid): void {
  port?.postMessage(said);
}
