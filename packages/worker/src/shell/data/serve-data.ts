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
 * a `data-failed` message where the store lacks the value or the offset is not inside it.
 */
export function serveData(
  request: GetData,
  store: Store,
  outlet: DataOutlet,
  workerName: string,
): void {
  const value = store.get(request.task);
  const fail = (problem: string): void => {
    const message = `task ${request.task}: worker ${workerName} ${problem}`;
    const why = failure('ERR_LOST_DATA', message, '', workerName, null);
    outlet.send(dataFailed(request.request, why));
  };
  if (value === undefined) {
    fail('does not hold its result');
    return;
  }
  const { offset } = request;
  // The empty rest at the very end is a valid answer to a valid question.
  if (offset > value.byteLength) {
    fail(`holds ${value.byteLength} bytes, asked for some from ${offset}`);
    return;
  }
  const length = Math.min(request.length, LIMITS.bulkChunkBytes);
  outlet.sendBulk({
    request: request.request,
    totalBytes: value.byteLength,
    offset,
    bytes: value.subarray(offset, offset + length),
  });
}
