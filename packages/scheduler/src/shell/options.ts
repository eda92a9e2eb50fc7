import { readFileSync } from 'node:fs';

import {
  defineProgram,
  interfaceAddress,
  parseAddress,
  parseDuration,
  parseHeartbeatTimeout,
  parsePort,
  runProgram,
} from '@farm/protocol/command-line';
import { LIMITS } from '@farm/protocol/core';

/** Dask's default port of a scheduler. */
export const DEFAULT_PORT = 8786;
/** Dask's default port of a dashboard. */
export const DEFAULT_DASHBOARD_PORT = 8787;

/** Where a dashboard is to listen. An empty host means the scheduler's own. */
export interface DashboardAddress {
  readonly host: string;
  readonly port: number;
}

/** What the command line of `farm-scheduler` says. */
export interface SchedulerFlags {
  readonly schedulerFile: string | undefined;
  readonly host: string | undefined;
  readonly port: number;
  /** The address of the interface that was named. */
  readonly interface: string | undefined;
  readonly dashboardAddress: DashboardAddress;
  readonly dashboard: boolean;
  readonly localDirectory: string | undefined;
  /** Milliseconds. */
  readonly idleTimeout: number | undefined;
  /** Milliseconds. */
  readonly heartbeatTimeout: number;
  /** Milliseconds. */
  readonly lease: number;
  readonly pidFile: string | undefined;
  /** Modules of plugins. */
  readonly preload: readonly string[];
  /** Arguments for all of them. */
  readonly preloadArgv: readonly string[];
}

const program = defineProgram({
  name: 'farm-scheduler',
  summary:
    'Starts a scheduler: clients submit tasks to it, workers run them. Stop it with Ctrl-C or ' +
    'SIGTERM, or from a client with shutdown().',
  version: packageVersion(),
  envPrefix: 'FARM_SCHEDULER',
  options: {
    schedulerFile: {
      value: 'FILE',
      description: 'write address and tokens to this file (mode 0600); workers and clients read it',
      parse: text,
      env: 'FARM_SCHEDULER_FILE',
    },
    host: {
      value: 'HOST',
      description: 'address to listen on; 0.0.0.0 for all',
      parse: text,
      defaultText: '127.0.0.1',
    },
    port: {
      value: 'PORT',
      description: 'port to listen on; 0 for any free one',
      parse: parsePort,
      default: DEFAULT_PORT,
    },
    interface: {
      value: 'NAME',
      description: 'network interface to listen on, for example ib0',
      parse: (name) => interfaceAddress(name),
    },
    dashboardAddress: {
      value: 'ADDRESS',
      description: 'where the dashboard listens: 8787, :8787, host:8787',
      parse: parseDashboardAddress,
      default: { host: '', port: DEFAULT_DASHBOARD_PORT },
      defaultText: `:${DEFAULT_DASHBOARD_PORT}`,
    },
    dashboard: { description: 'serve the dashboard', default: true },
    localDirectory: {
      value: 'DIR',
      description: 'directory for files of the scheduler; made if missing',
      parse: text,
    },
    idleTimeout: {
      value: 'TIME',
      description: 'end after this long without work: 600, 10m, 1h',
      parse: parseDuration,
      defaultText: 'never',
    },
    heartbeatTimeout: {
      value: 'TIME',
      description: 'a worker or client that is silent for this long has lost its connection',
      parse: parseHeartbeatTimeout,
      default: LIMITS.heartbeatTimeoutMs,
      defaultText: '15s',
    },
    lease: {
      value: 'TIME',
      description: 'wait this long for a worker or client whose connection was lost',
      parse: parseDuration,
      default: LIMITS.leaseMs,
      defaultText: '30s',
    },
    pidFile: { value: 'FILE', description: 'write the process id to this file', parse: text },
    preload: {
      value: 'MODULE',
      description: 'load plugins from this file or package; may be repeated',
      parse: text,
      repeatable: true,
    },
    preloadArgv: {
      value: 'ARG',
      description: 'argument for the plugins, written --preload-argv=ARG; may be repeated',
      parse: text,
      repeatable: true,
    },
  },
  conflicts: [['host', 'interface']],
  examples: [
    {
      command: 'farm-scheduler --scheduler-file scheduler.json',
      description: 'on this machine only, found through scheduler.json',
    },
    {
      command: 'farm-scheduler --scheduler-file scheduler.json --interface ib0 --port 0',
      description: 'reachable over InfiniBand, on any free port',
    },
  ],
});

/** Runs `farm-scheduler` with its command line understood. */
export async function runSchedulerProgram(
  argv: readonly string[],
  main: (flags: SchedulerFlags) => Promise<number>,
): Promise<void> {
  await runProgram(program, ({ options }) => main(options), { argv });
}

function text(value: string): string {
  return value;
}

function parseDashboardAddress(value: string): DashboardAddress {
  const { host, port } = parseAddress(value, { defaultPort: DEFAULT_DASHBOARD_PORT, listen: true });
  return { host, port };
}

/** Version of this package, as published. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  );
  if (typeof manifest !== 'object' || manifest === null || !('version' in manifest)) return '0.0.0';
  return String(manifest.version);
}
