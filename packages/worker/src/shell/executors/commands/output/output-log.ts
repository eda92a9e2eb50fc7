import { makeDirectoriesAsync } from '@farm/protocol';
import { FarmError } from '@farm/protocol/core';
import { randomBytes } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';

import type { OutputSink } from '../running-command.ts';
import { outputRecord } from './output-record.ts';

/** So much may wait to be written before commands are slowed down. */
const WAITING_BYTES_MAX = 4_194_304;

/** Options of an {@link OutputLog}. */
export interface OutputLogOptions {
  /** The worker's directory. */
  readonly cwd: string;
  /** Where the file is made. @default farm-output */
  readonly directory: string | undefined;
  readonly workerName: string;
}

/** The file that a worker streams the output of its commands to, made with the first of them. */
export class OutputLog {
  readonly #path: string;
  readonly #directory: string;
  #file: Promise<FileHandle> | undefined;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;

  constructor({ cwd, directory = 'farm-output', workerName }: OutputLogOptions) {
    this.#directory = resolve(cwd, directory);
    const name = `${workerName}-${hostname()}`.replaceAll(/[^\w.-]+/g, '_').slice(0, 150);
    // Never a file that another process writes to.
    this.#path = join(this.#directory, `${name}-${randomBytes(4).toString('hex')}.farm-output`);
  }

  /**
   * Where the output of one attempt goes.
   *
   * @throws FarmError `ERR_STAGE` where the file cannot be made
   */
  async sink({ key, attempt }: { key: string; attempt: number }): Promise<OutputSink> {
    await (this.#file ??= this.#open());
    let problem: Error | undefined;
    return {
      write: (stream, chunk) => {
        const record = outputRecord({ key, attempt, stream }, chunk);
        this.#waiting.push(record);
        this.#waitingBytes += record.byteLength;
        this.#start().catch((error: unknown) => {
          problem ??= error instanceof Error ? error : new Error(String(error));
        });
        return this.#waitingBytes < WAITING_BYTES_MAX;
      },
      drained: () => this.#start().catch(() => {}),
      finish: async () => {
        await this.#start();
        if (problem !== undefined) throw problem;
      },
    };
  }

  /** Idempotent. */
  async close(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    await this.#writing?.catch(() => {});
    await file.then((handle) => handle.close()).catch(() => {});
  }

  /** Resolves when what waits now is written; rejects where some of it could not be. */
  #start(): Promise<void> {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #write(): Promise<void> {
    const file = await this.#file;
    if (file === undefined) return;
    while (this.#waiting.length > 0) {
      const records = this.#waiting.splice(0, 1_000);
      const bytes = Buffer.concat(records);
      try {
        for (let at = 0; at < bytes.byteLength;) at += (await file.write(bytes, at)).bytesWritten;
      } catch (error) {
        throw this.#refusal(error);
      } finally {
        this.#waitingBytes -= bytes.byteLength;
      }
    }
  }

  async #open(): Promise<FileHandle> {
    try {
      await makeDirectoriesAsync(this.#directory);
      return await open(this.#path, 'a');
    } catch (error) {
      this.#file = undefined;
      throw this.#refusal(error);
    }
  }

  #refusal(error: unknown): FarmError {
    const why = error instanceof Error ? error.message : String(error);
    return new FarmError('ERR_STAGE', `output could not be streamed to ${this.#path}: ${why}`, {
      cause: error,
    });
  }
}
