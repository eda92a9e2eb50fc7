import { accessSync, constants, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';

import {
  FarmError,
  PROTOCOL_VERSION,
  createLogger,
  describeSchedulerFile,
  isStale,
  localAddresses,
  makeDirectories,
  makeToken,
  onShutdownSignal,
  readSchedulerFile,
  removeCredential,
  removeSchedulerFile,
  watchParent,
  writeCredential,
  writeSchedulerFile,
} from '@farm/protocol';
import type { Logger } from '@farm/protocol';
import { UsageError } from '@farm/protocol/command-line';

import { Dashboard } from './dashboard/dashboard.ts';
import { packageVersion } from './options.ts';
import type { DashboardAddress, SchedulerFlags } from './options.ts';
import { PluginHost } from './plugins.ts';
import { Scheduler } from './scheduler.ts';

/**
 * Runs a scheduler as a program: files, dashboard, signals. Resolves with the exit code once the
 * scheduler has ended.
 */
export async function runScheduler(flags: SchedulerFlags): Promise<number> {
  const logger = createLogger({ name: 'farm.scheduler' });
  const host = flags.interface ?? flags.host ?? '127.0.0.1';
  if (flags.localDirectory !== undefined) prepareDirectory(flags.localDirectory);
  const plugins = new PluginHost(logger);
  for (const module of flags.preload) await plugins.preload(module, flags.preloadArgv);
  const tokens = { client: makeToken(), worker: makeToken() };
  const scheduler = await Scheduler.start({
    host,
    port: flags.port,
    contactHost: contactHost(host),
    tokens,
    idleTimeoutMs: flags.idleTimeout ?? null,
    heartbeatTimeoutMs: flags.heartbeatTimeout,
    leaseMs: flags.lease,
    version: packageVersion(),
    logger,
    plugins,
  });
  onShutdownSignal((signal) => void scheduler.close(`received ${signal}`));
  watchParent(() => void scheduler.close('the process that started the scheduler is gone'));

  let dashboard: Dashboard | null = null;
  const undo: (() => unknown)[] = [];
  try {
    const { address, id, listening } = scheduler;
    if (flags.dashboard) {
      dashboard = await Dashboard.listen({
        host: dashboardHost(flags.dashboardAddress, host),
        port: flags.dashboardAddress.port,
        token: tokens.client,
        info: () => scheduler.info(),
        logger,
      });
    }
    const startedMs = Date.now();
    const { pid } = process;
    const credential = await writeCredential({ id, ...listening, startedMs, pid, tokens });
    undo.push(() => removeCredential(credential, id));
    if (flags.pidFile !== undefined) undo.push(writePidFile(resolve(flags.pidFile)));
    // Last: whoever sees it there counts on the rest.
    if (flags.schedulerFile !== undefined) {
      const path = resolve(flags.schedulerFile);
      const services = dashboard === null ? {} : { dashboard: dashboard.port };
      const protocol = PROTOCOL_VERSION;
      await warnOfOther(path, logger);
      const info = { id, address, services, startedMs, protocol, pid, host: hostname(), tokens };
      await writeSchedulerFile(path, info);
      undo.push(() => removeSchedulerFile(path, id));
    }
    logger.info(`Scheduler at: ${address}`);
    if (dashboard !== null) {
      const where = `http://${contactHost(dashboardHost(flags.dashboardAddress, host))}:${dashboard.port}/status`;
      logger.info(`dashboard at: ${where} (asks for the token in the scheduler file)`);
    }
    const reason = await scheduler.ended;
    logger.info(`ended: ${reason}`);
  } finally {
    for (const step of undo.toReversed()) await step();
    await dashboard?.close();
    await scheduler.close('failed to start');
  }
  return typeof process.exitCode === 'number' ? process.exitCode : 0;
}

/** Replacing the file of a scheduler that still runs is allowed, and rarely meant. */
async function warnOfOther(path: string, logger: Logger): Promise<void> {
  try {
    const other = await readSchedulerFile(path, { role: 'client' });
    if (isStale(other)) return;
    logger.warn(
      `replacing ${describeSchedulerFile(other, Date.now())}; its scheduler may still run`,
    );
  } catch {
    // There is none, or none that anybody could use.
  }
}

/** An address to dial: listening on all interfaces is no address to go to. */
function contactHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::' && host !== '') return host;
  return (
    localAddresses().find((address) => !address.startsWith('127.') && address !== '::1') ??
    hostname()
  );
}

function dashboardHost(asked: DashboardAddress, schedulerHost: string): string {
  return asked.host === '' ? schedulerHost : asked.host;
}

function prepareDirectory(directory: string): void {
  const path = resolve(directory);
  try {
    makeDirectories(path);
    accessSync(path, constants.W_OK);
  } catch (error) {
    const reason = `--local-directory ${path} cannot be written to: ${text(error)}`;
    throw new UsageError(reason, { cause: error });
  }
}

function writePidFile(path: string): () => void {
  try {
    writeFileSync(path, `${process.pid}\n`);
  } catch (error) {
    throw new FarmError('ERR_ARGUMENT', `--pid-file ${path} cannot be written: ${text(error)}`, {
      cause: error,
    });
  }
  return () => rmSync(path, { force: true });
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
