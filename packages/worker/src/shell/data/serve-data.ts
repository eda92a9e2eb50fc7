import {
  dataFailed,
  failure,
  LIMITS,
  type BulkFrame,
  type DataFailed,
  type GetData,
} from '@farm/protocol';

import type { Store } from './store.ts';

/** The part of a connection that data is served on. */
export interface DataOutlet {
  send(message: DataFailed): void;
  sendBulk(frame: BulkFrame): void;
}

/**
 * Answers a request for bytes of a value: with a chunk of at most `LIMITS.bulkChunkBytes`, or with
 * a `data-failed` message where the store lacks the value or the offset is not inside it. A spilled
 * value is served from its file, a chunk at a time, and stays there.
 */
export function serveData(
  request: GetData,
  store: Store,
  outlet: DataOutlet,
  workerName: string,
): void {
  const { task, offset } = request;
  const totalBytes = store.sizeOf(task);
  const fail = (problem: string): void => {
    const message = `task ${task}: worker ${workerName} ${problem}`;
    const why = failure('ERR_LOST_DATA', message, '', workerName, null);
    outlet.send(dataFailed(request.request, why));
  };
  if (totalBytes === undefined) {
    fail('does not hold its result');
    return;
  }
  // The empty rest at the very end is a valid answer to a valid question.
  if (offset > totalBytes) {
    fail(`holds ${totalBytes} bytes, asked for some from ${offset}`);
    return;
  }
  const length = Math.min(request.length, LIMITS.bulkChunkBytes);
  const answer = (bytes: Uint8Array): void => {
    outlet.sendBulk({ request: request.request, totalBytes, offset, bytes });
  };
  const value = store.getToSend(task);
  if (value !== undefined) {
    answer(value.subarray(offset, offset + length));
    return;
  }
  store.read(task, offset, length).then(answer, (error: unknown) => {
    fail(`could not read it: ${error instanceof Error ? error.message : String(error)}`);
  });
}
