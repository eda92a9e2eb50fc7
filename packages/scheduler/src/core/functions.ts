import { defineWorkerFunction, forgetFunctions } from '@farm/protocol/core';
import type { DefineFunction } from '@farm/protocol/core';

import { FunctionState } from './state.ts';
import type { ClientState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** A client makes a function known. The same content is kept once, whoever defines it. */
export function defineFunction(
  tables: Tables,
  client: ClientState,
  { hash, name, spec }: DefineFunction,
): void {
  let fn = tables.functions.get(hash);
  if (fn === undefined) {
    const prefix = tables.durations.get(name);
    prefix.functions += 1;
    // The bytes are a view of what arrived, which would stay as a whole.
    fn = new FunctionState(tables.nextFunction++, hash, name, new Uint8Array(spec), prefix);
    tables.functions.set(hash, fn);
  }
  fn.definers.add(client);
  client.functions.add(fn);
}

/** Tells a worker about a function, unless it was told. */
export function tellFunction(tables: Tables, worker: WorkerState, fn: FunctionState): void {
  if (!fn.told.add(worker.number)) return;
  tables.outbox.toWorker(worker, defineWorkerFunction(fn.number, fn.name, fn.spec));
}

/** Forgets a function that no block runs and no present client has defined. */
export function forgetUnused(tables: Tables, fn: FunctionState): void {
  if (fn.blocks > 0 || fn.definers.size > 0) return;
  tables.functions.delete(fn.hash);
  fn.prefix.functions -= 1;
  for (const worker of tables.workers.values()) {
    if (!fn.told.has(worker.number)) continue;
    tables.outbox.toWorker(worker, forgetFunctions([fn.number]));
  }
}
