/** Copies what tasks left in a directory of the node to where it stays, when the worker ends. */
import { cpSync, mkdirSync } from 'node:fs';

import type { PluginWorker, WorkerPlugin } from '@farm/worker';

export default class CopyWorkerPlugin implements WorkerPlugin {
  readonly name = 'copy';
  readonly #temporary: string;
  readonly #target: string;

  constructor(temporary: string, target: string) {
    this.#temporary = temporary;
    this.#target = target;
  }

  setup(): void {
    mkdirSync(this.#target, { recursive: true });
  }

  teardown(worker: PluginWorker): void {
    cpSync(this.#temporary, this.#target, { recursive: true });
    worker.log(`copied ${this.#temporary} to ${this.#target}`);
  }
}
