import { invariant } from '@farm/protocol/core';

import { hasItem } from './collections/one-or-many.ts';
import { heldBy } from './replicas.ts';
import { recordsOf } from './state.ts';
import type { WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/**
 * Checks what is known of results on workers, of copies that are made, and of values on their way.
 *
 * @throws FarmError `ERR_INTERNAL` naming what does not hold.
 */
export function validateData(tables: Tables): void {
  const incoming = new Map<WorkerState, number>();
  for (const [task, transfers] of tables.transfers) {
    invariant(task.state === 'memory', `${task.key} is copied, and is ${task.state}`);
    invariant(transfers.size > 0, `${task.key} is copied to nobody`);
    for (const [to, transfer] of transfers) {
      const { job } = transfer;
      invariant(transfer.to === to && job.task === task, `${task.key}: a transfer is misplaced`);
      invariant(
        tables.workers.get(to.session) === to,
        `${task.key} is copied to the lost ${to.name}`,
      );
      invariant(tables.copies.has(job.batch), `${task.key} is copied for nobody`);
      incoming.set(to, (incoming.get(to) ?? 0) + task.size);
    }
  }
  for (const worker of tables.workers.values()) {
    const { name, heldBytes, incomingBytes } = worker;
    let held = 0;
    for (const { size } of heldBy(tables, worker)) held += size;
    invariant(held === heldBytes, `${name} holds ${held} bytes, counted ${heldBytes}`);
    const due = incoming.get(worker) ?? 0;
    invariant(
      due === incomingBytes,
      `${due} bytes are copied to ${name}, counted ${incomingBytes}`,
    );
  }
  for (const batch of tables.copies) {
    invariant(batch.left > 0 && batch.inFlight > 0, `a batch waits for nothing`);
  }
  for (const task of [...tables.copiesWanted.keys(), ...tables.surplus.keys()]) {
    invariant(task.state === 'memory', `copies of ${task.key} count, which is ${task.state}`);
  }
  let bytes = 0;
  for (const { task, target, value } of tables.scatters.values()) {
    bytes += value.byteLength;
    invariant(task.block.isScattered, `${task.key} is not scattered`);
    invariant(task.state === 'waiting', `${task.key} arrives, and is ${task.state}`);
    invariant(
      target === null || tables.workers.get(target.session) === target,
      `${task.key} is on its way to the lost ${target?.name}`,
    );
  }
  invariant(bytes === tables.scatters.bytes, `${bytes} bytes arrive, counted otherwise`);
  const delayed = new Set(tables.delays.items().map(({ task }) => task));
  for (const block of tables.blocks) {
    for (const task of recordsOf(block)) {
      if (task === undefined || (task.trouble?.delayedUntilMs ?? null) === null) continue;
      invariant(task.state === 'waiting', `${task.key} is held back, and is ${task.state}`);
      invariant(delayed.has(task), `${task.key} is held back for ever`);
    }
  }
  for (const { worker, stage } of tables.retirements) {
    invariant(worker.isLeaving && worker.isRetiring, `${worker.name} retires and does not`);
    invariant(stage !== 'copied', `${worker.name}: nobody looks at what was copied`);
  }
  for (const [task, transfers] of tables.transfers) {
    // A copy that is there ends its transfer, unless the worker has made the result itself.
    for (const to of transfers.keys()) {
      invariant(!hasItem(task.holders, to) || task.ranOn === to.name, `${task.key}: not ended`);
    }
  }
}
