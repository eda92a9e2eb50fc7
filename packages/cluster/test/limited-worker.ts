import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Client } from '@farm/client';

import { Site, type Program } from './processes.ts';

/** A scheduler, one worker with a memory limit, and a client of them; all gone after disposal. */
export class LimitedWorker {
  readonly site: Site;
  readonly program: Program;
  readonly client: Client;

  private constructor(site: Site, program: Program, client: Client) {
    this.site = site;
    this.program = program;
    this.client = client;
  }

  /** Starts a worker. Resolves when it takes tasks. */
  static async start(
    nthreads: number,
    memoryLimit: string,
    ...flags: readonly string[]
  ): Promise<LimitedWorker> {
    const site = await Site.open();
    site.scheduler();
    const shape = ['--nthreads', String(nthreads), '--memory-limit', memoryLimit];
    const program = site.worker(...shape, ...flags);
    const client = new Client({ schedulerFile: site.schedulerFile });
    const worker = new LimitedWorker(site, program, client);
    try {
      await client.waitForWorkers(1, { timeoutMs: 20_000 });
      return worker;
    } catch (error) {
      await worker[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The process that runs tasks; another one once that has died. */
  async pid(): Promise<number> {
    return (await this.client.schedulerInfo()).workers[0]?.pid ?? 0;
  }

  /** Where its results are spilled. */
  async spillDirectory(): Promise<string> {
    const [worker] = (await this.client.schedulerInfo()).workers;
    return join(worker?.localDirectory ?? '', 'spill');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.site[Symbol.asyncDispose]();
  }
}

/** The most resident memory a process has had, bytes. */
export function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}

/** Names of the files in a directory; none where there is no such directory. */
export function filesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
